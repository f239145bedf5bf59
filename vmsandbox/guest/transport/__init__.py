"""The ways to a guest, over vsock: where the host's kernel has vhost_vsock, and by vhost-device-vsock elsewhere.

`Transport` is what both are; `Transports` gives a sandbox the one that this host has, and ends it by the sandbox's id.
A `GuestConnection` carries the frames of docs/protocol.md over a dialled port.
"""

from vmsandbox.guest.transport.connection import GuestConnection, Transport, TransportBroken
from vmsandbox.guest.transport.transports import Transports, use_kernel
from vmsandbox.guest.transport.vhost_daemon import VHOST_DEVICE_VSOCK, program_installed

__all__ = [
    "VHOST_DEVICE_VSOCK",
    "GuestConnection",
    "Transport",
    "TransportBroken",
    "Transports",
    "program_installed",
    "use_kernel",
]
