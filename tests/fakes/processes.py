"""Processes of the fake agent: Python coroutines that read, write, get signals and return an exit code."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from vmsandbox.protocol.messages import Stream

OUTPUT_BUFFER = 256 * 1024


class FakeOutput:
    """Keeps what was not acknowledged, and lets the writer wait when there is too much of it."""

    def __init__(self) -> None:
        self.start = 0
        self.buffer = bytearray()
        self.ended = False
        self.changed = asyncio.Condition()

    @property
    def end(self) -> int:
        return self.start + len(self.buffer)

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            async with self.changed:
                await self.changed.wait_for(lambda: len(self.buffer) < OUTPUT_BUFFER)
                room = OUTPUT_BUFFER - len(self.buffer)
                self.buffer += view[:room]
                view = view[room:]
                self.changed.notify_all()

    async def acknowledge(self, offset: int) -> None:
        async with self.changed:
            del self.buffer[: max(0, offset - self.start)]
            self.start = max(self.start, offset)
            self.changed.notify_all()

    async def finish(self) -> None:
        async with self.changed:
            self.ended = True
            self.changed.notify_all()

    async def chunk(self, position: int, size: int) -> bytes:
        """Wait for bytes at `position` and return them; nothing at the end."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.end > position or self.ended)
            index = position - self.start
            return bytes(self.buffer[index : index + size])


class FakeProcess:
    """A fake process, from the view of its program."""

    def __init__(self, args: tuple[str, ...], *, stdin: bool, tty: bool) -> None:
        self.args = args
        self.has_stdin = stdin
        self.tty = tty
        self.size = (0, 0)
        self.outputs = {Stream.STDOUT: FakeOutput()} | ({} if tty else {Stream.STDERR: FakeOutput()})
        self.stdin: asyncio.Queue[bytes] = asyncio.Queue(4)
        self.stdin_taken = 0
        self.stdin_open = stdin
        self.signals: asyncio.Queue[int] = asyncio.Queue()
        self.killed = asyncio.Event()
        self.exit_code: int | None = None

    def signal(self, number: int) -> None:
        """SIGKILL ends the process; the program gets the others from `signals`."""
        if number == signal.SIGKILL:
            self.killed.set()
        else:
            self.signals.put_nowait(number)

    async def write(self, data: bytes, stream: Stream = Stream.STDOUT) -> None:
        await self.outputs[stream].write(data)

    async def read(self) -> bytes:
        """The next bytes of standard input; nothing at its end."""
        return await self.stdin.get() if self.has_stdin else b""


Program = Callable[[FakeProcess], Awaitable[int]]


async def until_killed(process: FakeProcess) -> int:
    """`sleep infinity`."""
    return 128 + await process.signals.get()


async def cat(process: FakeProcess) -> int:
    while data := await process.read():
        await process.write(data)
    return 0
