"""The way of a container's output: from the guest into the log, and to whoever reads along.

What the log holds is acknowledged to the agent; what is not, the agent keeps and sends again. Somebody who reads
along slowly holds the container back, through the same acknowledgements, and loses nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from vmsandbox.model import Output
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.logs import ContainerLog

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


OpenSource = Callable[[Stream, int], AbstractAsyncContextManager[OutputSource]]
"""Opens a stream at an offset."""


@dataclass(slots=True, eq=False)
class _Reader:
    """One who reads along: pieces take a free slot each, so that the queue itself never blocks the end."""

    pieces: asyncio.Queue[Output | None] = field(default_factory=asyncio.Queue)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CHUNKS_AHEAD))


class Readers:
    """Those who read a container's output along, each at its own pace; the slowest sets the container's."""

    def __init__(self) -> None:
        """Nobody reads yet."""
        self._readers: set[_Reader] = set()
        self._ended = False

    def read(self) -> AsyncGenerator[Output, None]:
        """What is published from this call on (not from the first step of the iteration), to the end."""
        reader = _Reader()
        if self._ended:
            reader.pieces.put_nowait(None)
        self._readers.add(reader)
        return self._drain(reader)

    async def publish(self, output: Output) -> None:
        """Hand a piece to every reader, waiting for those who are behind."""
        for reader in tuple(self._readers):
            await reader.slots.acquire()
            reader.pieces.put_nowait(output)

    def end(self) -> None:
        """Nothing comes any more: readers end when they have read what they were handed."""
        self._ended = True
        for reader in self._readers:
            reader.pieces.put_nowait(None)

    async def _drain(self, reader: _Reader) -> AsyncGenerator[Output, None]:
        try:
            while (output := await reader.pieces.get()) is not None:
                reader.slots.release()
                yield output
        finally:
            self._readers.discard(reader)
            reader.slots.release()


class OutputPump:
    """Moves the output of one container; `run` ends at the end of its streams, or is cancelled."""

    def __init__(self, log: ContainerLog, streams: Sequence[Stream], open_source: OpenSource) -> None:
        """Own `log`: it is closed when `run` ends."""
        self.readers = Readers()
        self.log = log
        self._streams = streams
        self._open_source = open_source

    async def run(self) -> None:
        """Pump every stream to its end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for stream in self._streams:
                    tasks.create_task(self._pump(stream))
        finally:
            self.log.close()
            self.readers.end()

    async def _pump(self, stream: Stream) -> None:
        async with self._open_source(stream, self.log.offset(stream)) as source:
            async for data in source:
                self.log.write(stream, data)
                await self.readers.publish(Output(stream, data))
                source.acknowledge(self.log.offset(stream))
            self.log.end(stream)
            source.acknowledge(self.log.offset(stream))
