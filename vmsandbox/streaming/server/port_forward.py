"""Serving one client of port-forward, and all of its connections.

What a port does not take in waits, and the other connections go on. When too much waits, the client is not read from
any more; where it has other connections they must not wait without end, so the one that stalls is given up. One that is
alone may stall for as long as it likes. But that it is, is known only of what was read: a client may have given it up
already, or opened others, behind what waits. So what is read of it then is more.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from vmsandbox import aio, log
from vmsandbox.errors import VmsandboxError
from vmsandbox.streaming.io.pipe import Allowance
from vmsandbox.streaming.io.wire import ClientGone, Wire
from vmsandbox.streaming.protocol.port_forward import (
    GaveUp,
    PortEvent,
    PortForward,
    PortInput,
    PortInputEnded,
    Requested,
    Waiting,
)
from vmsandbox.streaming.protocol.stream_protocol import Left
from vmsandbox.streaming.server.commands import STREAM_CREATION_TIMEOUT
from vmsandbox.streaming.server.forwarding import Forwarding
from vmsandbox.streaming.server.targets import Port

STALL_TIMEOUT = 30.0
"""Seconds in which ports have to take something in while other connections of their client wait for it."""
LOOK_AHEAD = 8 * 1024 * 1024
"""Bytes that are read on top when a connection that is alone has stalled: about what the kernels on the way hold."""

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
    session = _Session(wire, open_port, creation_timeout)
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


class _Session:
    """The connections of one client, each a task."""

    def __init__(self, wire: Wire[PortForward], open_port: OpenPort, creation_timeout: float) -> None:
        self.finished = asyncio.Event()
        """All connections have ended, and there will be no others."""
        self._wire = wire
        self._open_port = open_port
        self._creation_timeout = creation_timeout
        self._allowance = Allowance()
        self._stalled = False
        """The only connection there is takes nothing in."""
        self._forwardings: dict[int, Forwarding] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._expiries: dict[int, asyncio.TimerHandle] = {}
        """Of the pairs that wait."""

    async def read(self) -> None:
        """Take in what the client does, until it goes. Raises ClientGone."""
        async for event in self._wire.events():
            if isinstance(event, Left):
                raise ClientGone(event.reason or "it closed the connection")
            self._take(event)
            await self._make_room()
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
                if number in self._forwardings:
                    self._forwardings[number].end()
            case GaveUp(number):
                if number in self._tasks:
                    self._tasks[number].cancel()

    def _begin(self, number: int, port: int) -> None:
        self._forwardings[number] = Forwarding(self._wire, number, self._allowance)
        task = self._tasks[number] = asyncio.create_task(self._forward(number, port), name=f"to port {port}")
        task.add_done_callback(lambda _: self._forget(number))  # Also when it is cancelled before it began.

    def _put(self, number: int, data: bytes) -> None:
        if (forwarding := self._forwardings.get(number)) is not None:
            forwarding.put(data)
        else:
            self._wire.protocol.consumed(number, len(data))

    async def _make_room(self) -> None:
        """Do not read on while too much waits. Raises ClientGone."""
        while self._allowance.spent:
            left = self._allowance.left
            stalled = self._stalled and self._alone
            if stalled and left > -LOOK_AHEAD:
                return
            await self._wire.hold(self._allowance.exceeds(left), None if stalled else STALL_TIMEOUT)
            stalled = self._allowance.left <= left
            self._stalled = stalled and self._alone
            if stalled and not self._alone:
                await self._give_up(max(self._forwardings, key=lambda number: self._forwardings[number].waiting))
        self._stalled = False

    @property
    def _alone(self) -> bool:
        return len(self._tasks) == 1

    async def _give_up(self, number: int) -> None:
        self._fail(number, f"the port took too little in for {STALL_TIMEOUT:g} s, and others wait")
        await aio.cancel(self._tasks[number])

    async def _forward(self, number: int, port: int) -> None:
        try:
            async with self._open_port(port) as connection:
                await self._forwardings[number].exchange(connection)
            self._wire.protocol.finish(number)
            self._look_for_end()
        except VmsandboxError as error:
            self._fail(number, f"port {port}: {error}")
        except ClientGone:
            pass  # `read` notices, too.

    def _forget(self, number: int) -> None:
        """A connection has ended; what still comes is thrown away."""
        del self._tasks[number]
        self._forwardings.pop(number).discard()

    def _fail(self, number: int, message: str) -> None:
        _log.info("a client of port-forward is told: %s", message)
        self._wire.protocol.fail(number, message)
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
        if self._allowance.spent:  # The other stream may have come, but is not read.
            self._expect(pair)
            return
        self._wire.protocol.expire(pair)
        self._wire.flush_soon()
