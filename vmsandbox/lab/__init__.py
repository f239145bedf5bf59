"""The laboratory: several hosts, reached by ssh, on which a checkout of vmsandbox is installed, looked at and tried.

An inventory names the hosts. `Fleet.on` does a piece of work on all of them at once, a thread for each; what fails on
one host is that host's outcome, and the others go on. Whatever runs on a host runs below `remote.runner`, which ends it
when the connection is gone. Importing this does not import paramiko.
"""

from vmsandbox.lab.checkout import Checkout, own_checkout, pack
from vmsandbox.lab.fleet import Dial, Fleet, HostContext, Outcome
from vmsandbox.lab.host import Command, Connection, Hop, HostKeys, LabHost, Reach, Stopping, Streams
from vmsandbox.lab.installation import install, uninstall
from vmsandbox.lab.inventory import Inventory, load, parse
from vmsandbox.lab.pods import host_of_pod, vmsandbox
from vmsandbox.lab.reports import Received, collect, run_bench, run_tests, write_bundle
from vmsandbox.lab.survey import COLUMNS, Surveyed, least_busy, row, survey
from vmsandbox.lab.text import plain


def dial(host: LabHost, reach: Reach) -> Connection:
    """A connection by ssh, which its caller closes.

    Raises:
        Unavailable: the host cannot be reached.
        PermissionDenied: the host is not the one that is known, or does not let us in.
        InvalidArgument, FailedPrecondition: a key is not there, the known hosts cannot be read.
    """
    from vmsandbox.lab import ssh

    return ssh.dial(host, reach)


__all__ = [
    "COLUMNS",
    "Checkout",
    "Command",
    "Connection",
    "Dial",
    "Fleet",
    "Hop",
    "HostContext",
    "HostKeys",
    "Inventory",
    "LabHost",
    "Outcome",
    "Reach",
    "Received",
    "Stopping",
    "Streams",
    "Surveyed",
    "collect",
    "dial",
    "host_of_pod",
    "install",
    "least_busy",
    "load",
    "own_checkout",
    "pack",
    "parse",
    "plain",
    "row",
    "run_bench",
    "run_tests",
    "survey",
    "uninstall",
    "vmsandbox",
    "write_bundle",
]
