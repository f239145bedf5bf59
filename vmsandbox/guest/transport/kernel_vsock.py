"""AF_VSOCK (vsock(7)): the transport of hosts whose kernel has vhost_vsock."""

import asyncio
import errno
import fcntl
import os
import socket
import struct

from typing_extensions import override

from vmsandbox.errors import Unavailable
from vmsandbox.guest.transport.connection import Transport, TransportBroken
from vmsandbox.model import Vsock

CIDS = range(3, 0x8000_0000)
"""The CIDs of guests: 0 to 2 are the hypervisor, the local machine and the host (vsock(7))."""

VHOST_VSOCK = "/dev/vhost-vsock"
_SET_GUEST_CID = 0x4008AF60
"""VHOST_VSOCK_SET_GUEST_CID of linux/vhost.h, with a 64-bit CID."""

_MEANING = {
    errno.ENODEV: "no running machine has this CID",
    errno.ECONNRESET: "nobody listens on it yet",
    errno.ETIMEDOUT: "the guest's kernel does not answer yet",
}


class KernelVsock(Transport):
    """Dials a guest by its CID through the host's kernel; it holds nothing, so there is nothing to end."""

    def __init__(self, cid: int) -> None:
        """Dial `cid`, claimed by the caller (`claims.Claims`)."""
        self.device = Vsock(cid)

    @override
    async def ready(self) -> None:
        """Return at once: the kernel answers for a guest that does not listen yet."""

    @override
    async def dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await self._dial(port)
        except OSError as error:
            seen = _MEANING.get(error.errno or 0, error.strerror or str(error))
            raise Unavailable(f"vsock CID {self.device.cid}, port {port}: {seen}") from None

    async def _dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = self._socket()
        try:
            await asyncio.get_running_loop().sock_connect(sock, self._address(port))
            return await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise

    @override
    async def diagnose(self) -> TransportBroken | None:
        return None  # The kernel's transport does not break.

    def _socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        sock.setblocking(False)
        return sock

    def _address(self, port: int) -> tuple[int, int] | str:
        return self.device.cid, port


def kernel_has_vhost_vsock() -> bool:
    """Whether this host's kernel can back a machine's vsock device, for this user."""
    return os.access(VHOST_VSOCK, os.R_OK | os.W_OK)


def cid_is_taken(cid: int) -> bool:
    """Whether a running machine of anybody has the CID: the kernel refuses to give it twice."""
    fd = os.open(VHOST_VSOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _SET_GUEST_CID, struct.pack("=Q", cid))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return True
        raise
    finally:
        os.close(fd)
    return False
