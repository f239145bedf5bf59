"""Knowing that a peer has hung up while nothing is read from it.

asyncio notices the end of a connection only by reading. But where a client is held back because nobody takes what it
sends, its end must still be noticed: the process that takes nothing is to be told. epoll(7) reports EPOLLRDHUP for that
without a byte being read, and an epoll descriptor can itself be watched by the event loop. (The FIN of a client that
was killed waits behind what we do not take in; a heartbeat makes its kernel answer with RST at once.)
"""

import asyncio
import contextlib
import select
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def hangup_of(peer: socket.socket) -> Iterator["asyncio.Future[None]"]:
    """A future that is done when the peer has closed or reset the connection, or its own direction of it."""
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
