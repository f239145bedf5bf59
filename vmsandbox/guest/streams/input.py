"""Standard input of a process: bytes into the guest, of which a bounded number is on its way.

The agent acknowledges what it has written to the process, and says at the start of every connection how much that
is in all; so the unacknowledged rest is kept here, and sent again where a connection was lost.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from vmsandbox import aio
from vmsandbox.errors import FailedPrecondition, NotFound, VmsandboxError, explained
from vmsandbox.guest.session import Session
from vmsandbox.guest.streams.opening import Reopening
from vmsandbox.guest.transport import GuestConnection
from vmsandbox.protocol.framing import STREAM_CHUNK, ProtocolError, pack

WINDOW = 256 * 1024
"""Bytes written that the process has not been given yet; then `write` waits."""

_OFFSET = struct.Struct(">Q")


class InputStream:
    """A context that runs one task, which delivers what is written. There is one writer of an input at a time."""

    def __init__(self, name: str, session: Session, open_once: Callable[[], Awaitable[GuestConnection]]) -> None:
        """`GuestClient.input` calls this."""
        self._name = name
        self._reopening = Reopening(name, session, open_once)
        self._buffer = bytearray()
        self._start = 0
        self._sent = 0
        self._finished = False
        self._end_sent = False
        self._failure: VmsandboxError | None = None
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to deliver."""
        self._task = asyncio.create_task(self._deliver(), name=self._name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop at once; `drain` first where all of it has to arrive. Without `close_write` the input stays open."""
        if self._task is not None:
            await aio.cancel(self._task)

    async def write(self, data: bytes) -> None:
        """Hand bytes over for delivery, waiting while the process takes none in. Cancelling may hand over a part.

        Raises:
            FailedPrecondition: the process does not read its input any more, or `close_write` was called.
            Unavailable: the session is closed, or the stream cannot be opened.
        """
        if self._finished:
            raise FailedPrecondition(f"{self._name} was closed for writing")
        view = memoryview(data)
        while view:
            await self._wait_for(lambda: len(self._buffer) < WINDOW)
            room = WINDOW - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
            await self._notify()

    async def close_write(self) -> None:
        """Let the process read the end of file after what was written. Can be repeated."""
        self._finished = True
        await self._notify()

    async def drain(self) -> None:
        """Return when the process was given all that was written, and the end of file. Raises as `write`."""
        await self._wait_for(lambda: not self._buffer and self._end_sent >= self._finished)

    async def _wait_for(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._failure is not None or condition())
        if self._failure is not None and not (self._finished and condition()):
            raise type(self._failure)(self._failure.message, hint=self._failure.hint)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _deliver(self) -> None:
        """Own the connections, one after the other, until all is delivered."""
        try:
            while not (self._finished and self._end_sent and not self._buffer):
                await self._deliver_on(await self._reopening.open())
        except (FailedPrecondition, NotFound):
            self._failure = FailedPrecondition(f"{self._name}: the process does not read it any more")
        except Exception as error:  # Whoever writes learns of it.
            self._failure = explained(error)
        await self._notify()

    async def _deliver_on(self, connection: GuestConnection) -> None:
        try:
            await self._take_acknowledgement(connection)
            self._sent = self._start
            async with aio.background(self._send(connection)):
                while True:
                    await self._take_acknowledgement(connection)
        except (OSError, ProtocolError) as error:
            if not (self._end_sent and not self._buffer):
                await self._reopening.lost(error)
        finally:
            await connection.aclose()

    async def _send(self, connection: GuestConnection) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._unsent() or self._finished)
            chunk = self._unsent()
            await connection.send(pack(chunk))
            self._sent += len(chunk)
            if not chunk:
                self._end_sent = True
                await self._notify()
                return

    def _unsent(self) -> bytes:
        index = self._sent - self._start
        return bytes(self._buffer[index : index + STREAM_CHUNK])

    async def _take_acknowledgement(self, connection: GuestConnection) -> None:
        payload = await connection.receive()
        if payload is None:
            raise ConnectionResetError("the guest ended it")
        self._advance(payload)
        self._reopening.progressed()
        await self._notify()

    def _advance(self, payload: bytes) -> None:
        if len(payload) != _OFFSET.size:
            raise ProtocolError(f"an acknowledgement of {len(payload)} bytes")
        (offset,) = _OFFSET.unpack(payload)
        if not self._start <= offset <= self._start + len(self._buffer):
            raise ProtocolError(f"an acknowledgement of position {offset}, which was not sent")
        del self._buffer[: offset - self._start]
        self._start = offset
