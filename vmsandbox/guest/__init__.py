"""The host's end of the agent's protocol (docs/protocol.md).

`Transports` makes the way to a guest, a `Session` keeps the connection to its agent, and a `GuestClient` has a method
for each request. `ClockKeeper` corrects the guest's clock.
"""

from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.clock import ClockKeeper
from vmsandbox.guest.session import EventHandler, Session, has_feature, offered
from vmsandbox.guest.streams import InputStream, OutputStream, PortStream
from vmsandbox.guest.transport import DEFAULT_PROGRAM, Transport, TransportBroken, Transports, installed, use_kernel

__all__ = [
    "DEFAULT_PROGRAM",
    "ClockKeeper",
    "EventHandler",
    "GuestClient",
    "InputStream",
    "OutputStream",
    "PortStream",
    "Session",
    "Transport",
    "TransportBroken",
    "Transports",
    "has_feature",
    "installed",
    "offered",
    "use_kernel",
]
