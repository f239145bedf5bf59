"""The daemon's words about itself: metrics for Prometheus, and spans for a collector of OpenTelemetry.

Nobody waits for either: a scrape is answered beside everything else, and spans are sent by a thread of their own, which
drops those that nobody takes. docs/metrics.md says what there is.
"""

from vmsandbox.exporters.running import Exporters, exporting
from vmsandbox.exporters.scrapes import check_address, check_certificate
from vmsandbox.exporters.traces import check_installed, trusted

__all__ = ["Exporters", "check_address", "check_certificate", "check_installed", "exporting", "trusted"]
