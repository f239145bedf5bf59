"""Sockets beyond asyncio's streams: keep-alive, hang-ups noticed without reading, closes that neither hang nor lose."""

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import termios
from collections.abc import Iterator

_KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 4}
"""Seconds, and their number: a client whose host has vanished is noticed within two minutes."""


def keep_alive(connection: socket.socket) -> None:
    """Have the kernel find out whether the peer is still there."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


@contextlib.contextmanager
def hangup_of(peer: socket.socket) -> Iterator["asyncio.Future[None]"]:
    """Give a future that is done when the peer has closed or reset the connection, or its own direction of it.

    asyncio notices the end of a connection only by reading. But where a client is held back because nobody takes what
    it sends, its end must still be noticed: the process that takes nothing is to be told. epoll(7) reports EPOLLRDHUP
    without a byte being read, and an epoll descriptor can itself be watched by the event loop. (The FIN of a client
    that was killed waits behind what we do not take in; a heartbeat makes its kernel answer with RST at once.)
    """
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    if peer.fileno() < 0:
        gone.set_result(None)
        yield gone
        return
    with select.epoll() as watch:
        watch.register(peer.fileno(), select.EPOLLRDHUP)
        loop.add_reader(watch.fileno(), _resolve, gone)
        try:
            yield gone
        finally:
            loop.remove_reader(watch.fileno())


def _resolve(gone: "asyncio.Future[None]") -> None:
    if not gone.done():
        gone.set_result(None)


def untaken(connection: socket.socket) -> int:
    """Return how many sent bytes the peer's kernel has not acknowledged yet (tcp(7), SIOCOUTQ)."""
    count: int = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    return count


async def farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes, patience: float) -> None:
    """Send a last answer, and wait up to `patience` seconds until the client has it: a close could cut it off."""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(patience):
            writer.write(answer)
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            while await reader.read(4096):
                pass


def close(writer: asyncio.StreamWriter) -> None:
    """Close at once; what the client has not taken in by now is thrown away.

    With TLS the client is told the end, but its answer, for which asyncio would wait half a minute, is not.
    """
    transport = writer.transport
    unsent = transport.get_write_buffer_size()
    if not transport.is_closing():
        transport.close()
    if unsent or transport.get_extra_info("ssl_object") is not None:
        transport.abort()
