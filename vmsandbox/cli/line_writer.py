"""Lines of several containers on one file, each with a prefix; a line that comes in parts is put together again."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from vmsandbox.pod.run.observer import OutputLine
from vmsandbox.protocol.messages import Stream


class LineWriter:
    """Writes to one file. A line that is not complete yet is ended early where that of another stream comes."""

    def __init__(self, target: BinaryIO) -> None:
        """Write to `target`, which stays the caller's."""
        self._target = target
        self._turn = asyncio.Lock()
        self._unfinished: tuple[str, Stream | None] | None = None
        """Container and stream of the line that the file ends in; without a stream, nothing continues it."""

    async def write(self, prefix: bytes, lines: Sequence[OutputLine]) -> None:
        """Write the lines, with the prefix before each, as soon as the file's reader takes them."""
        async with self._turn:
            await asyncio.to_thread(self._write, b"".join(self._pieces(prefix, lines)))

    def ended(self, container: str) -> None:
        """Begin a new line for what this container prints from now on: it has ended, and may be started again."""
        if self._unfinished is not None and self._unfinished[0] == container:
            self._unfinished = (container, None)

    def close(self) -> None:
        """End the last line."""
        if self._unfinished is not None:
            self._write(b"\n")

    def _pieces(self, prefix: bytes, lines: Sequence[OutputLine]) -> Iterator[bytes]:
        for line in lines:
            here = (line.container, line.stream)
            if self._unfinished != here:
                yield (b"" if self._unfinished is None else b"\n") + prefix
            yield line.text + (b"\n" if line.complete else b"")
            self._unfinished = None if line.complete else here

    def _write(self, data: bytes) -> None:
        self._target.write(data)
        self._target.flush()
