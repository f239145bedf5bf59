"""Serving one client of port-forward, and all of its connections.

What a port does not take in waits, and the other connections go on, within two bounds:

- A port for which more than `CONNECTION_LIMIT` waits, and that takes nothing in for `STALL_TIMEOUT`, has its connection
  reset, alone or not.
- A client for which more than `CLIENT_LIMIT` waits is not read from. No client gets there whose connections are all
  within their own bound; so one at least is beyond it, which goes on taking or is reset, and the client is read again.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from vmsandbox import aio, log
from vmsandbox.errors import VmsandboxError
from vmsandbox.streaming.io import Backlog, ClientGone, Wire
from vmsandbox.streaming.protocol import (
    GaveUp,
    Left,
    PortEvent,
    PortForward,
    PortInput,
    PortInputEnded,
    Requested,
    Waiting,
)
from vmsandbox.streaming.server.commands import STREAM_CREATION_TIMEOUT
from vmsandbox.streaming.server.forwarded_connection import CONNECTION_LIMIT, STALL_TIMEOUT, ForwardedConnection
from vmsandbox.streaming.server.targets import Port

MAX_CONNECTIONS = 128
"""Connections that a client may have: the pairs that the streams of SPDY make, or channels of WebSocket."""
CLIENT_LIMIT = MAX_CONNECTIONS * CONNECTION_LIMIT
"""Bytes that may wait for all ports of a client; what is read at once, 64 KiB, comes on top."""

_log = log.get(__name__)

OpenPort = Callable[[int], AbstractAsyncContextManager[Port]]


async def serve_ports(
    wire: Wire[PortForward], open_port: OpenPort, *, creation_timeout: float = STREAM_CREATION_TIMEOUT
) -> None:
    """Serve a client until it goes, or (over channels) all of its connections have ended.

    Args:
        wire: the connection, upgraded; the caller closes it.
        open_port: connects to a port of the pod.
        creation_timeout: seconds for opening the second stream of a pair.

    Raises:
        ClientGone: the client has gone, as it mostly ends.
    """
    session = _PortForwardSession(wire, open_port, creation_timeout)
    try:
        async with (
            aio.background(session.read(), "client of port-forward") as reading,
            aio.background(session.finished.wait()) as finished,
        ):
            await asyncio.wait([reading, finished], return_when=asyncio.FIRST_COMPLETED)
            if not finished.done():
                reading.result()
    finally:
        await session.close()
    await wire.end()


class _PortForwardSession:
    """The connections of one client, each a task."""

    def __init__(self, wire: Wire[PortForward], open_port: OpenPort, creation_timeout: float) -> None:
        self.finished = asyncio.Event()
        """All connections have ended, and there will be no others."""
        self._wire = wire
        self._open_port = open_port
        self._creation_timeout = creation_timeout
        self._backlog = Backlog(CLIENT_LIMIT)
        self._connections: dict[int, ForwardedConnection] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._expiries: dict[int, asyncio.TimerHandle] = {}
        """When each pair that waits for its second stream is given up."""

    async def read(self) -> None:
        """Take in what the client does, until it goes. Raises ClientGone."""
        async for event in self._wire.events():
            if isinstance(event, Left):
                raise ClientGone(event.reason or "it closed the connection")
            self._take(event)
            if self._backlog.full:
                await self._wire.hold(self._backlog.fits())
            self._stop_timers(self._expiries.keys() - self._wire.protocol.waiting)
            await self._wire.flush_answers()
        raise ClientGone("it hung up")

    async def close(self) -> None:
        """End all connections."""
        self._stop_timers(set(self._expiries))
        await aio.cancel(*self._tasks.values())

    def _take(self, event: PortEvent) -> None:
        match event:
            case Waiting(pair):
                self._expect(pair)
            case Requested(number, port):
                self._begin(number, port)
            case PortInput(number, data):
                self._put(number, data)
            case PortInputEnded(number):
                if number in self._connections:
                    self._connections[number].end()
            case GaveUp(number):
                if number in self._tasks:
                    self._tasks[number].cancel()

    def _begin(self, number: int, port: int) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            self._refuse(number, f"a client has at most {MAX_CONNECTIONS} connections")
            return
        self._connections[number] = ForwardedConnection(self._wire, number, self._backlog, self._give_up)
        task = self._tasks[number] = asyncio.create_task(self._forward(number, port), name=f"to port {port}")
        task.add_done_callback(lambda _: self._forget(number))  # Also when it is cancelled before it began.

    def _put(self, number: int, data: bytes) -> None:
        if (connection := self._connections.get(number)) is not None:
            connection.put(data)
        else:
            self._wire.protocol.consumed(number, len(data))

    async def _forward(self, number: int, port: int) -> None:
        try:
            async with self._open_port(port) as connection:
                await self._connections[number].exchange(connection)
            self._wire.protocol.finish(number)
            self._look_for_end()
        except VmsandboxError as error:
            self._fail(number, f"port {port}: {error}")
        except ClientGone:
            pass  # `read` notices, too.

    def _forget(self, number: int) -> None:
        """Forget a connection that has ended; what still comes is thrown away."""
        del self._tasks[number]
        self._connections.pop(number).discard()

    def _fail(self, number: int, message: str) -> None:
        _log.info("a client of port-forward is told: %s", message)
        self._wire.protocol.fail(number, message)
        self._wire.flush_soon()
        self._look_for_end()

    def _give_up(self, number: int) -> None:
        """Reset a connection whose port has stalled."""
        self._refuse(number, f"the port took nothing in for {STALL_TIMEOUT:g} s, while more than 64 KiB waited for it")
        self._tasks[number].cancel()

    def _refuse(self, number: int, message: str) -> None:
        """Reset a connection, and leave the others of the client alone."""
        _log.info("a connection of port-forward is reset: %s", message)
        self._wire.protocol.refuse(number, message)
        self._wire.flush_soon()
        self._look_for_end()

    def _look_for_end(self) -> None:
        if self._wire.protocol.finished:
            self.finished.set()

    def _stop_timers(self, pairs: set[int]) -> None:
        for pair in pairs:
            self._expiries.pop(pair).cancel()

    def _expect(self, pair: int) -> None:
        self._expiries[pair] = asyncio.get_running_loop().call_later(self._creation_timeout, self._expire, pair)

    def _expire(self, pair: int) -> None:
        if self._backlog.full:  # The other stream may have come, but is not read.
            self._expect(pair)
            return
        self._wire.protocol.expire(pair)
        self._wire.flush_soon()
