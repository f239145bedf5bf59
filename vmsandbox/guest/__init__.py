"""The host's end of the agent's protocol (docs/protocol.md).

`Transports` makes the way to a guest, a `Session` keeps the connection to its agent, and a `GuestClient` has a method
for each request. `ClockKeeper` corrects the guest's clock.
"""

from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.clock import ClockKeeper
from vmsandbox.guest.session import EventHandler, Session, has_feature, secret_offered
from vmsandbox.guest.streams import InputStream, OutputStream, PortStream
from vmsandbox.guest.transport import (
    VHOST_DEVICE_VSOCK,
    Transport,
    TransportBroken,
    Transports,
    program_installed,
    use_kernel,
)

__all__ = [
    "VHOST_DEVICE_VSOCK",
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
    "program_installed",
    "secret_offered",
    "use_kernel",
]
