"""Spans, sent to a collector of OpenTelemetry. Its packages are an extra, and imported only where wanted."""

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator
from typing import Any

from vmsandbox import log
from vmsandbox.config import TracesConfig
from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs.opening import MEBIBYTE, read_regular, reason
from vmsandbox.telemetry import tracing

_log = log.get(__name__)

_NEEDED = {
    "opentelemetry.sdk.trace": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter": "opentelemetry-exporter-otlp-proto-grpc",
}
"""Modules, and the packages that have them."""

_SEND_TIMEOUT = 5.0
_END_TIMEOUT = 3.0
"""Seconds in which the last spans are sent when the daemon ends; those that are left then are lost."""
_MOST_WAITING = 4096
"""Spans that wait to be sent; more are dropped."""
_MOST_AT_ONCE = 512
_PAUSE = 1.0
"""Seconds for which spans are gathered before they are sent."""


def check_installed() -> None:
    """Raise FailedPrecondition, with the names of the packages, where what sends spans is not installed."""
    missing = sorted(package for module, package in _NEEDED.items() if not _is_there(module))
    if missing:
        hint = "install what sends traces: pip install 'vmsandbox[traces]'; or leave traces.endpoint out"
        raise FailedPrecondition(f"traces need Python packages that are not installed: {', '.join(missing)}", hint=hint)


def trusted(config: TracesConfig) -> bytes | None:
    """Return the certificates that a collector's is checked with; None: without TLS. Raises FailedPrecondition."""
    if config.ca is None:
        return None
    try:
        return read_regular(config.ca, MEBIBYTE, follow=True)
    except OSError as error:
        raise FailedPrecondition(f"{config.ca} cannot be read: {reason(error)}") from None


@contextlib.asynccontextmanager
async def sending_traces(config: TracesConfig) -> AsyncIterator[None]:
    """Make spans of this process and send them, while the context lasts. Raises FailedPrecondition."""
    check_installed()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from vmsandbox.exporters.spans import OtelTracer

    credentials = _credentials(trusted(config))
    exporter = OTLPSpanExporter(
        endpoint=config.endpoint, insecure=credentials is None, credentials=credentials, timeout=_SEND_TIMEOUT
    )
    processor = BatchSpanProcessor(
        exporter,
        max_queue_size=_MOST_WAITING,
        max_export_batch_size=_MOST_AT_ONCE,
        schedule_delay_millis=_PAUSE * 1000,
    )
    log.adopt("opentelemetry")
    _log.info("traces are sent to %s", config.endpoint)
    try:
        with tracing(OtelTracer(processor, config.sampling)):
            yield
    finally:
        sending = asyncio.ensure_future(asyncio.to_thread(processor.shutdown))
        await asyncio.wait([sending], timeout=_END_TIMEOUT)
        if not sending.done():
            exporter.shutdown()  # It gives up what it tries to send.


def _credentials(certificates: bytes | None) -> Any:
    import grpc

    return None if certificates is None else grpc.ssl_channel_credentials(certificates)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # Not even a package above it.
        return False
