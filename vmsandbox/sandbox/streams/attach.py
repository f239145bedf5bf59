"""Clients of a running container's own streams (CRI Attach), several at a time.

Each gets what the container prints from then on, besides the log. What they type goes to the one standard input.
Detaching ends nothing, but with `stdin_once`: then the input ends with the first client that had it. As containerd has
it, the end of a client's input detaches the client, unless it ends the container's.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from vmsandbox import aio
from vmsandbox.errors import FailedPrecondition, VmsandboxError
from vmsandbox.guest import GuestClient, InputStream
from vmsandbox.model import ContainerConfig
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams.output import Readers

PATIENCE = 10.0
"""Seconds for which a client that takes nothing may hold the container and its log back; then it is detached."""


class AttachedClient:
    """One client. `AttachedClients.attach` makes it."""

    def __init__(self, owner: "AttachedClients", readers: Readers, outputs: tuple[Stream, ...]) -> None:
        """Read along from now on."""
        self.outputs = outputs
        self._owner = owner
        self._readers = {stream: readers.join(stream, PATIENCE) for stream in outputs}
        self._detached = asyncio.Event()

    async def output(self, stream: Stream) -> AsyncGenerator[bytes, None]:
        """Yield the container's output until it ends or the client is detached.

        Raises:
            DeadlineExceeded: the client has held the container back for `PATIENCE`.
        """
        async with contextlib.aclosing(self._readers[stream].pieces()) as pieces:
            async for piece in pieces:
                yield piece.data

    async def write(self, data: bytes) -> None:
        """Type. Raises FailedPrecondition where the container takes no input (any more), Unavailable."""
        await self._owner.write(data)

    async def close_stdin(self) -> None:
        """The client types no more: that ends the container's input (`stdin_once`), or detaches the client."""
        if not await self._owner.input_ended():
            self.detach()

    async def resize(self, columns: int, rows: int) -> None:
        """Set the container's window. Raises FailedPrecondition where it has no terminal."""
        await self._owner.resize(columns, rows)

    async def wait(self) -> int:
        """Return when the client is detached, or the container has ended; 0, since neither is an error."""
        async with aio.background(self._detached.wait()) as detached, aio.background(self._owner.ended()) as ended:
            await asyncio.wait([detached, ended], return_when=asyncio.FIRST_COMPLETED)
        return 0

    def detach(self) -> None:
        """End its output, after what it was handed already."""
        self._detached.set()
        for reader in self._readers.values():
            reader.leave()

    def close(self, readers: Readers) -> None:
        """Do not read along any more."""
        for reader in self._readers.values():
            readers.drop(reader)


class AttachedClients:
    """All clients of one container, and its standard input, which is opened for the first who types."""

    def __init__(
        self,
        client: GuestClient,
        container_id: str,
        config: ContainerConfig,
        readers: Readers,
        ended: Callable[[], Awaitable[object]],
    ) -> None:
        """Serve a container; `ended` returns when it has ended. All of this is the container's."""
        self._client = client
        self._container_id = container_id
        self._config = config
        self._readers = readers
        self._ended = ended
        self._stack = contextlib.AsyncExitStack()
        self._input: InputStream | None = None
        self._typing = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def attach(self, *, stdin: bool, output: bool = True) -> AsyncIterator[AttachedClient]:
        """Be a client while the context lasts; `stdin`: it is one that types; `output`: it is one that reads."""
        both = (Stream.STDOUT,) if self._config.tty else (Stream.STDOUT, Stream.STDERR)
        outputs = both if output else ()
        attachment = AttachedClient(self, self._readers, outputs)
        try:
            yield attachment
        finally:
            attachment.close(self._readers)
            if stdin and self._once:
                with contextlib.suppress(VmsandboxError):
                    await self.input_ended()

    async def close(self) -> None:
        """Let go of the input; it stays open in the guest."""
        await self._stack.aclose()

    async def write(self, data: bytes) -> None:
        """One client after the other. Raises FailedPrecondition where the container takes no input, Unavailable."""
        async with self._typing:
            await (await self._opened()).write(data)

    async def input_ended(self) -> bool:
        """A client types no more; whether that concerns the container's own input, not the client alone."""
        if self._once:
            async with self._typing:
                await (await self._opened()).close_write()
        return self._once or not self._config.stdin

    async def resize(self, columns: int, rows: int) -> None:
        """Set the window. Raises FailedPrecondition where there is no terminal."""
        await self._client.resize(self._container_id, columns, rows)

    async def ended(self) -> None:
        """Return when the container has ended."""
        await self._ended()

    @property
    def _once(self) -> bool:
        """Whether the input ends with its first client; a terminal's cannot."""
        return self._config.stdin and self._config.stdin_once and not self._config.tty

    async def _opened(self) -> InputStream:
        if not self._config.stdin:
            raise FailedPrecondition(f"container {self._container_id} has no standard input")
        if self._input is None:
            self._input = await self._stack.enter_async_context(self._client.input(self._container_id))
        return self._input
