"""Serving one client of exec or attach: its streams on one side, the process on the other."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

from vmsandbox import aio, log
from vmsandbox.errors import VmsandboxError
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming.io import Backlog, ByteQueue, ClientGone, Wire
from vmsandbox.streaming.protocol import (
    CommandEvent,
    CommandStatus,
    Input,
    InputEnded,
    Left,
    RemoteCommand,
    Resized,
    Started,
    TerminalSize,
)
from vmsandbox.streaming.server.targets import ClientProcess

STREAM_CREATION_TIMEOUT = 30.0
"""Seconds that a client has for opening its streams, as in the kubelet."""
INPUT_LIMIT = 1024 * 1024
"""Bytes that may wait for a process; beyond it the client is not read from, and so its window's size not heard."""

_log = log.get(__name__)


async def serve_command(
    wire: Wire[RemoteCommand],
    opening: AbstractAsyncContextManager[ClientProcess],
    *,
    creation_timeout: float = STREAM_CREATION_TIMEOUT,
) -> None:
    """Serve a client until the process ends, or the client goes.

    Args:
        wire: the connection, upgraded; the caller closes it.
        opening: starts or joins the process when the client's streams are there. It is left in any case, which is
            what ends a command whose client has gone.
        creation_timeout: seconds for opening the streams.

    Raises:
        ClientGone: the client went first.
    """
    session = _CommandSession(wire)
    async with aio.background(session.read(), "client of a command"):
        status = await aio.unless(session.serve(opening, creation_timeout), session.gone)
    wire.protocol.finish(status)
    await wire.end()


class _CommandSession:
    """One client and its process; several tasks share it."""

    def __init__(self, wire: Wire[RemoteCommand]) -> None:
        self.gone: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._wire = wire
        self._started = asyncio.Event()
        self._backlog = Backlog(INPUT_LIMIT)
        self._input = ByteQueue(self._backlog)
        self._size: TerminalSize | None = None
        self._resized = asyncio.Event()

    async def read(self) -> None:
        """Take in what the client does, until it goes."""
        reason: BaseException = ClientGone("it hung up")
        try:
            async for event in self._wire.events():
                match event:
                    case Left(why):
                        reason = ClientGone(why or "it closed the connection")
                    case _:
                        await self._take(event)
        except Exception as error:  # ClientGone, or a defect.
            reason = error
        finally:
            self.gone.set_result(reason)

    async def serve(
        self, opening: AbstractAsyncContextManager[ClientProcess], creation_timeout: float
    ) -> CommandStatus:
        """Run the process, and return how it ended. Raises ClientGone when the streams are not opened in time."""
        try:
            async with asyncio.timeout(creation_timeout):
                await self._started.wait()
        except TimeoutError:
            self._wire.protocol.abandon("the streams were not opened in time")
            self._wire.flush_soon()
            raise ClientGone("it did not open its streams in time") from None
        try:
            async with opening as process:
                return CommandStatus(await self._run(process))
        except VmsandboxError as error:
            _log.info("a streaming client is told: %s", error)
            return CommandStatus(None, str(error))

    async def _take(self, event: CommandEvent) -> None:
        match event:
            case Started():
                self._started.set()
            case Input(data):
                self._input.put(data)
                if self._backlog.full:
                    await self._wire.hold(self._backlog.fits())
            case InputEnded():
                self._input.end()
            case Resized(size):
                self._size = size
                self._resized.set()

    async def _run(self, process: ClientProcess) -> int:
        """Move everything until the process has ended and its output was given to the client."""
        async with aio.background(self._feed(process)), aio.background(self._follow_window(process)):
            await aio.together(*(self._show(process, stream) for stream in process.outputs))
            return await process.wait()

    async def _show(self, process: ClientProcess, stream: Stream) -> None:
        protocol = self._wire.protocol
        pieces: AsyncGenerator[bytes, None] = process.output(stream)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                await self._wire.deliver(piece, lambda: protocol.room(stream), lambda data: protocol.send(stream, data))

    async def _feed(self, process: ClientProcess) -> None:
        """Give the client's input to the process. Input that the process does not take any more is thrown away."""
        taking = True
        while data := await self._input.get():
            try:
                if taking:
                    await process.write(data)
            except VmsandboxError:
                taking = False
            self._input.consumed(len(data))
            self._wire.protocol.consumed(len(data))
            self._wire.flush_soon()
        with contextlib.suppress(VmsandboxError):
            await process.close_stdin()

    async def _follow_window(self, process: ClientProcess) -> None:
        while True:
            await self._resized.wait()
            self._resized.clear()
            if self._size is not None:
                with contextlib.suppress(VmsandboxError):  # There is no terminal, or no guest to tell it now.
                    await process.resize(self._size.columns, self._size.rows)
