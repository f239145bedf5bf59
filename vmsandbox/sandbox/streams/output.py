"""The way of a container's output: from the guest into the log, and to whoever reads along.

What the log holds is acknowledged to the agent; what is not, the agent keeps and sends again. Somebody who reads
along slowly holds the container back, through the same acknowledgements, and loses nothing; one who has stopped
reading can be given up after a while.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from vmsandbox import aio
from vmsandbox.errors import DeadlineExceeded, VmsandboxError
from vmsandbox.model import Output
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams.log_writer import LogWriter

_CHUNKS_AHEAD = 16
"""Chunks that wait for a reader before the container does."""


class OutputSource(Protocol):
    """An output stream of a container, beginning at the offset for which it was opened."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks, up to the end of the stream."""
        ...

    def acknowledge(self, offset: int) -> None:
        """Tell the agent that it may forget what lies before `offset`."""
        ...

    def reopen_if_still(self, seconds: float) -> bool:
        """Have the stream opened again if its reader has waited for the guest that long; return whether it has."""
        ...


OpenSource = Callable[[Stream, int], AbstractAsyncContextManager[OutputSource]]
"""Opens a stream at an offset."""


class Reader:
    """One who reads along, from `Readers.join` on: an iterator, to the end of the output or to `leave`.

    Pieces take a free slot each, so that the queue itself never blocks the end.
    """

    def __init__(self, stream: Stream | None = None, patience: float | None = None) -> None:
        """`Readers.join` calls this."""
        self._stream = stream
        self._patience = patience
        self._pieces: asyncio.Queue[Output | VmsandboxError | None] = asyncio.Queue()
        self._slots = asyncio.Semaphore(_CHUNKS_AHEAD)
        self._gone = False

    def leave(self) -> None:
        """End the iteration, after what was handed over already."""
        self._pieces.put_nowait(None)

    async def hand(self, output: Output) -> bool:
        """Give it a piece, waiting while it is behind; whether it is to be given more."""
        if self._stream not in (None, output.stream):
            return True
        try:
            async with asyncio.timeout(self._patience):
                await self._slots.acquire()
        except TimeoutError:
            seconds = f"{self._patience:g} s"
            self._pieces.put_nowait(DeadlineExceeded(f"detached: no output was taken within {seconds}"))
            return False
        if self._gone:
            self._slots.release()  # The other stream may wait for this reader as well.
            return False
        self._pieces.put_nowait(output)
        return True

    async def pieces(self) -> AsyncGenerator[Output, None]:
        """Yield the pieces in order. Raises DeadlineExceeded if this reader was given up because it was too slow."""
        try:
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, VmsandboxError):
                    raise piece
                self._slots.release()
                yield piece
        finally:
            self._gone = True
            self._slots.release()


class Readers:
    """The clients that read a container's output, each at its own pace; the slowest holds the container back."""

    def __init__(self, *, ended: bool = False, held: bool = False) -> None:
        """Nobody reads yet; `ended`: there is nothing to read any more; `held`: output waits for the first reader."""
        self._readers: set[Reader] = set()
        self._ended = ended
        self._released = asyncio.Event()
        if not held:
            self._released.set()

    def join(self, stream: Stream | None = None, patience: float | None = None) -> Reader:
        """One who reads what is published from now on.

        Args:
            stream: the only one that it wants.
            patience: seconds for which it may hold the container back without taking anything; then it reads to
                what it was handed, and an error. None: it can hold the container back for ever.
        """
        reader = Reader(stream, patience)
        if self._ended:
            reader.leave()
        self._readers.add(reader)
        self._released.set()
        return reader

    def release(self) -> None:
        """Wait for no first reader any more."""
        self._released.set()

    def drop(self, reader: Reader) -> None:
        """Remove a reader."""
        self._readers.discard(reader)

    def read(self) -> AsyncGenerator[Output, None]:
        """Yield everything published from this call on (not from the first step of the iteration), to the end."""
        return self._drain(self.join())

    async def publish(self, output: Output) -> None:
        """Hand a piece to every reader, waiting for those who are behind."""
        await self._released.wait()
        readers = tuple(self._readers)
        for reader, stays in zip(readers, await asyncio.gather(*(r.hand(output) for r in readers)), strict=True):
            if not stays:
                self._readers.discard(reader)

    def end(self) -> None:
        """Nothing comes any more: readers end when they have read what they were handed."""
        self._ended = True
        for reader in self._readers:
            reader.leave()

    async def _drain(self, reader: Reader) -> AsyncGenerator[Output, None]:
        try:
            async with contextlib.aclosing(reader.pieces()) as pieces:
                async for output in pieces:
                    yield output
        finally:
            self.drop(reader)


class OutputPump:
    """Moves the output of one container; `run` ends at the end of its streams, or is cancelled."""

    def __init__(
        self, log: LogWriter, streams: Sequence[Stream], open_source: OpenSource, *, held: bool = False
    ) -> None:
        """Own `log`: it is closed when `run` ends. `held`: see `Readers`."""
        self.readers = Readers(held=held)
        self.log = log
        self._streams = streams
        self._open_source = open_source
        self._sources: list[OutputSource] = []

    async def run(self) -> None:
        """Pump every stream to its end."""
        try:
            await aio.together(*(self._pump(stream) for stream in self._streams))
        finally:
            self.log.close()
            self.readers.end()

    def reopen_if_still(self, seconds: float) -> bool:
        """Have each stream opened again on which the guest has sent nothing for that long; return whether one has."""
        reopened = [source.reopen_if_still(seconds) for source in self._sources]
        return any(reopened)

    async def _pump(self, stream: Stream) -> None:
        async with self._open_source(stream, self.log.offset(stream)) as source:
            self._sources.append(source)
            async for data in source:
                await self.log.write(stream, data)
                await self.readers.publish(Output(stream, data))
                source.acknowledge(self.log.offset(stream))
            await self.log.end(stream)
            source.acknowledge(self.log.offset(stream))
