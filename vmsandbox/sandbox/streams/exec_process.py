"""One command that runs in a container besides its own process, and its streams."""

import asyncio
from collections.abc import AsyncGenerator

from vmsandbox.errors import FailedPrecondition, NotFound
from vmsandbox.guest import GuestClient, InputStream, OutputStream
from vmsandbox.protocol.messages import Exec, Exit, Stream

ACKNOWLEDGED_AT_ONCE = 64 * 1024
"""Bytes of output after which the agent is told that they were taken: a quarter of what it keeps. Each telling costs
it as much as a piece of output does."""


class ExecProcess:
    """A command that runs, and its streams. `Execs.open` makes it."""

    def __init__(
        self, client: GuestClient, request: Exec, ended: "asyncio.Future[Exit]", stdin: InputStream | None
    ) -> None:
        """Open nothing yet: a stream is opened when it is first used."""
        self.outputs = (Stream.STDOUT,) if request.tty else (Stream.STDOUT, Stream.STDERR)
        self._client = client
        self._request = request
        self._ended = ended
        self._stdin = stdin
        self._taken = dict.fromkeys(self.outputs, 0)
        self._to_the_end: set[Stream] = set()

    @property
    def finished(self) -> bool:
        """Whether it has ended, and all that it printed was taken."""
        return self._ended.done() and self._to_the_end.issuperset(self.outputs)

    async def output(self, stream: Stream) -> AsyncGenerator[bytes, None]:
        """Yield the output to its end. The command waits until the next piece is requested. Raises Unavailable."""
        request = self._request
        offset = self._taken[stream]
        try:
            async with self._client.output(
                request.container_id, stream, exec_id=request.exec_id, offset=offset
            ) as source:
                async for data in source:
                    yield data
                    if source.offset - self._taken[stream] >= ACKNOWLEDGED_AT_ONCE:
                        self._acknowledge(stream, source)
                self._acknowledge(stream, source)
        except NotFound:
            pass  # It has ended, and the agent had nothing (more) for us to take.
        self._to_the_end.add(stream)

    def _acknowledge(self, stream: Stream, source: OutputStream) -> None:
        source.acknowledge(source.offset)
        self._taken[stream] = source.offset

    async def write(self, data: bytes) -> None:
        """Give it input. Raises FailedPrecondition when it takes none (any more), Unavailable."""
        if self._stdin is None:
            raise FailedPrecondition("the command was started without standard input")
        await self._stdin.write(data)

    async def close_stdin(self) -> None:
        """Let it read the end of file; a terminal has none, and nothing happens."""
        if self._stdin is not None:
            await self._stdin.close_write()

    async def resize(self, columns: int, rows: int) -> None:
        """Set its window. Raises FailedPrecondition where it has no terminal."""
        request = self._request
        await self._client.resize(request.container_id, columns, rows, exec_id=request.exec_id)

    async def signal(self, number: int) -> None:
        """Send it a signal; nothing happens when it has ended. Raises Unavailable."""
        await self._client.signal_exec(self._request.container_id, self._request.exec_id, number)

    async def wait(self) -> int:
        """Wait for the end and return the exit code. Raises Unavailable if the machine ends first."""
        return (await asyncio.shield(self._ended)).exit_code
