"""Connections that speak frames, and the sockets on which they arrive."""

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import AsyncIterator, Callable

from vmsandbox.protocol.framing import MAX_FRAME, STREAM_CHUNK, FrameReader, ProtocolError, pack
from vmsandbox.protocol.messages import READY_PORT

SEND = STREAM_CHUNK
"""Bytes of one send(2) at most: vhost-device-vsock 0.3 hangs on guest packets of several descriptors."""

CHUNK = SEND - 4
"""Bytes of a chunk that leaves in one send together with its length."""

HOST_CID = 2
_ANNOUNCEMENTS = 10
_ANNOUNCEMENT = 5.0
"""Seconds for a busy host to answer; vsock(7) itself gives up after two, with ETIMEDOUT."""

_PAUSE = 0.02
"""Seconds until a vsock device is looked for again: nothing tells of it."""

_BACKLOG = 64
_RECEIVE = 64 * 1024
_OFFSET = struct.Struct(">Q")

Listen = Callable[[int], socket.socket]
"""Gives a listening socket for a port of the protocol."""


class HostConnection:
    """Frames on a connected stream socket, which its maker closes. One task may receive, any may send."""

    def __init__(self, sock: socket.socket) -> None:
        """Speak on `sock`, which becomes non-blocking."""
        sock.setblocking(False)
        self.is_stranger = True
        """Whether the peer has not yet said who it is."""
        self._socket = sock
        self._sending = asyncio.Lock()
        self._received = FrameReader()

    async def send(self, frame: bytes) -> None:
        """Send a packed frame whole. A task that is cancelled here leaves the connection unusable.

        Raises:
            OSError: the peer is gone.
        """
        loop = asyncio.get_running_loop()
        async with self._sending:
            for start in range(0, len(frame), SEND):
                await loop.sock_sendall(self._socket, frame[start : start + SEND])

    async def frame(self, limit: int = MAX_FRAME) -> bytes | None:
        """The payload of the next frame; None when the peer has ended the connection (or reset it).

        Raises:
            ProtocolError: the frame is larger than `limit`, or was cut by the end.
        """
        while (payload := self._received.next_frame(limit)) is None:
            data = await self._receive()
            if not data:
                self._check_whole()
                return None
            self._received.append(data)
        return payload

    async def frames(self, limit: int = MAX_FRAME) -> AsyncIterator[bytes]:
        """The payloads that arrive until the peer ends the connection; raises as `frame`."""
        while (payload := await self.frame(limit)) is not None:
            yield payload

    def _check_whole(self) -> None:
        if pending := self._received.pending():
            raise ProtocolError(f"the connection ended within a frame, after {pending} bytes")

    async def _receive(self) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self._socket, _RECEIVE)
        except ConnectionError:
            return b""

    def shut(self) -> None:
        """End the connection from this side; whoever receives sees its end. The socket's owner closes it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def pack_offset(offset: int) -> bytes:
    """An acknowledgement: the frame that holds a position in a stream."""
    return pack(_OFFSET.pack(offset))


def parse_offset(payload: bytes) -> int:
    """The position in an acknowledgement. Raises ProtocolError when it is not 8 bytes."""
    if len(payload) != _OFFSET.size:
        raise ProtocolError(f"an acknowledgement of {len(payload)} bytes, not {_OFFSET.size}")
    offset: int = _OFFSET.unpack(payload)[0]
    return offset


def listen_vsock(port: int) -> socket.socket:
    """Listen on a vsock port of this guest."""
    sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    sock.bind((socket.VMADDR_CID_ANY, port))
    sock.listen(_BACKLOG)
    return sock


async def announce_by_vsock() -> None:
    """Tell a host that waits for it that this guest listens. One that does not wait resets the connection.

    The machine may have no vsock device yet: it is plugged in when the machine becomes a pod's.
    """
    for _ in range(_ANNOUNCEMENTS):
        try:
            async with asyncio.timeout(_ANNOUNCEMENT):
                while not await _announced():  # noqa: ASYNC110 - as for _PAUSE
                    await asyncio.sleep(_PAUSE)
            return
        except TimeoutError:
            continue


async def _announced() -> bool:
    """Connect to the host, which knows then; False where there is no device to do it by."""
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (HOST_CID, READY_PORT))
        except OSError as error:
            return error.errno != errno.ENODEV
    return True


def is_host(sock: socket.socket) -> bool:
    """Whether the peer is the host; over another family than vsock the listener has decided that."""
    return sock.family != socket.AF_VSOCK or sock.getpeername()[0] == HOST_CID
