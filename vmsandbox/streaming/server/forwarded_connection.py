"""One connection that is forwarded: the streams of a client on one side, a TCP connection of the pod on the other."""

import asyncio
import contextlib
from collections.abc import Callable

from vmsandbox import aio
from vmsandbox.errors import VmsandboxError
from vmsandbox.streaming.io import Backlog, ByteQueue, Wire
from vmsandbox.streaming.protocol import PortForward
from vmsandbox.streaming.server.targets import Port

CONNECTION_LIMIT = 64 * 1024
"""Bytes that may wait for a port: the window of a stream, so that a client which knows windows never sends more."""
STALL_TIMEOUT = 30.0
"""Seconds for which a port may take nothing in while more than `CONNECTION_LIMIT` waits for it."""
AFTER_END = 5.0
"""Seconds that a client may go on sending after the port has ended its direction; many never end theirs."""


class ForwardedConnection:
    """The bytes between one connection of a client and a port. The wire and the port are the caller's."""

    def __init__(
        self, wire: Wire[PortForward], number: int, backlog: Backlog, stalled: Callable[[int], object]
    ) -> None:
        """Connect the client's connection `number`.

        Args:
            wire: the client.
            number: the connection, as in the protocol.
            backlog: what waits for all ports of the client.
            stalled: called with `number` when the port has stalled, once; it gives the connection up.
        """
        self._wire = wire
        self._number = number
        self._input = ByteQueue(backlog)
        self._stalled = stalled
        self._timer: asyncio.TimerHandle | None = None

    def put(self, data: bytes) -> None:
        """Add bytes for the port."""
        self._input.put(data)
        if self._timer is None:
            self._time()

    def end(self) -> None:
        """The client sends nothing more."""
        self._input.end()

    async def exchange(self, port: Port) -> None:
        """Move bytes until the port has ended, and the client too, or its time is over.

        Raises:
            Unavailable: the port was reset.
            ClientGone: the client has gone.
        """
        async with aio.background(self._send(port)) as sending:
            await self._show(port)
            await asyncio.wait([sending], timeout=AFTER_END)

    def discard(self) -> None:
        """Throw away what the port has not taken, when it will take no more."""
        self._credit(self._input.discard())
        self._time()

    async def _send(self, port: Port) -> None:
        """Give the port what the client sends, or throw it away when the port takes no more: it may still send."""
        taking = True
        while data := await self._input.get():
            try:
                if taking:
                    await port.write(data)
            except VmsandboxError:
                taking = False
            self._input.consumed(len(data))
            self._credit(len(data))
            self._time()
        with contextlib.suppress(VmsandboxError):
            await port.close_write()

    async def _show(self, port: Port) -> None:
        protocol, number = self._wire.protocol, self._number
        while data := await port.read():
            await self._wire.deliver(data, lambda: protocol.room(number), lambda part: protocol.send(number, part))
        protocol.end(number)
        self._wire.flush_soon()

    def _credit(self, count: int) -> None:
        """Let the client send on."""
        self._wire.protocol.consumed(self._number, count)
        self._wire.flush_soon()

    def _time(self) -> None:
        """Begin a new period in which the port has to take something, if too much waits for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._input.size > CONNECTION_LIMIT:
            self._timer = asyncio.get_running_loop().call_later(STALL_TIMEOUT, self._stalled, self._number)
