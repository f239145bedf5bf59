"""The way of a container's output: from the guest into the log, and to whoever reads along.

What the log holds is acknowledged to the agent; what is not, the agent keeps and sends again. Somebody who reads
along slowly holds the container back, through the same acknowledgements, and loses nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
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


class Readers:
    """Those who read a container's output along, each at its own pace; the slowest sets the container's."""

    def __init__(self) -> None:
        """Nobody reads yet."""
        self._queues: set[asyncio.Queue[Output | None]] = set()
        self._ended = False

    def read(self) -> AsyncIterator[Output]:
        """What is published from this call on (not from the first step of the iteration), to the end."""
        queue: asyncio.Queue[Output | None] = asyncio.Queue(_CHUNKS_AHEAD)
        if self._ended:
            queue.put_nowait(None)
        self._queues.add(queue)
        return self._drain(queue)

    async def _drain(self, queue: asyncio.Queue[Output | None]) -> AsyncIterator[Output]:
        try:
            while (output := await queue.get()) is not None:
                yield output
        finally:
            self._queues.discard(queue)
            while not queue.empty():
                queue.get_nowait()

    async def publish(self, output: Output | None) -> None:
        """Hand a piece to every reader, waiting for those who are behind; None ends them all."""
        self._ended = self._ended or output is None
        for queue in tuple(self._queues):
            await queue.put(output)


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
            await self.readers.publish(None)

    async def _pump(self, stream: Stream) -> None:
        async with self._open_source(stream, self.log.offset(stream)) as source:
            async for data in source:
                self.log.write(stream, data)
                await self.readers.publish(Output(stream, data))
                source.acknowledge(self.log.offset(stream))
            self.log.end(stream)
            source.acknowledge(self.log.offset(stream))
