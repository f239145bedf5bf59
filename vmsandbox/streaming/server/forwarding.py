"""One connection that is forwarded: the streams of a client on one side, a TCP connection of the pod on the other."""

import asyncio
import contextlib

from vmsandbox import aio
from vmsandbox.errors import VmsandboxError
from vmsandbox.streaming.io.pipe import Allowance, Pipe
from vmsandbox.streaming.io.wire import Wire
from vmsandbox.streaming.protocol.port_forward import PortForward
from vmsandbox.streaming.server.targets import Port

AFTER_END = 5.0
"""Seconds that a client may go on sending after the port has ended its direction; many never end theirs."""


class Forwarding:
    """What is on its way between the two. The wire and the port are the caller's."""

    def __init__(self, wire: Wire[PortForward], number: int, allowance: Allowance) -> None:
        """Connect the client's connection `number`, whose input has its share of `allowance`."""
        self._wire = wire
        self._number = number
        self._input = Pipe(allowance)

    @property
    def waiting(self) -> int:
        """Bytes that the port has not taken in."""
        return self._input.size

    def put(self, data: bytes) -> None:
        """Add bytes for the port."""
        self._input.put(data)

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
        """Throw away what the port has not taken in, when it will not any more."""
        self._credit(self._input.discard())

    async def _send(self, port: Port) -> None:
        """Give the port what the client sends. What it does not take any more is thrown away: it may still speak."""
        taking = True
        while data := await self._input.get():
            try:
                if taking:
                    await port.write(data)
            except VmsandboxError:
                taking = False
            self._input.consumed(len(data))
            self._credit(len(data))
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
