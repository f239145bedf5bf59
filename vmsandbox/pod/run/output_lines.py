"""A container's output as lines, told to the observer in their order."""

import contextlib
from collections.abc import AsyncGenerator, Iterator

from vmsandbox.model import Output
from vmsandbox.pod.run.observer import OutputLine, PodObserver
from vmsandbox.protocol.messages import Stream

LONGEST = 16 * 1024
"""Bytes of a line before it comes in parts, as in the CRI's log format."""

_TAIL, _TAIL_LINES = 2048, 80


class LineSplitter:
    """Makes lines of the pieces of one stream."""

    def __init__(self, container: str, stream: Stream) -> None:
        """Nothing has come yet."""
        self._container = container
        self._stream = stream
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[OutputLine]:
        """The lines that end in `data`, and parts of what is longer than `LONGEST`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield from self._parts(line, complete=True)
        while len(self._rest) > LONGEST:
            yield self._line(self._rest[:LONGEST], complete=False)
            self._rest = self._rest[LONGEST:]

    def end(self) -> Iterator[OutputLine]:
        """Return the rest of output that does not end with the end of a line."""
        if self._rest:
            yield self._line(self._rest, complete=False)
        self._rest = b""

    def _parts(self, line: bytes, *, complete: bool) -> Iterator[OutputLine]:
        while len(line) > LONGEST:
            yield self._line(line[:LONGEST], complete=False)
            line = line[LONGEST:]
        yield self._line(line, complete=complete)

    def _line(self, text: bytes, *, complete: bool) -> OutputLine:
        return OutputLine(self._container, self._stream, text, complete)


class Tail:
    """The last of what a container has printed (FallbackToLogsOnError)."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._kept = b""

    def feed(self, data: bytes) -> None:
        """Something more."""
        self._kept = (self._kept + data)[-_TAIL:]

    @property
    def text(self) -> str:
        """At most 80 lines and 2048 bytes, as in the kubelet."""
        lines = self._kept.decode(errors="replace").splitlines(keepends=True)
        return "".join(lines[-_TAIL_LINES:])


async def tell_lines(container: str, pieces: AsyncGenerator[Output, None], observer: PodObserver, tail: Tail) -> None:
    """Tell `observer` the lines of a container, until its output ends."""
    splitters = {stream: LineSplitter(container, stream) for stream in (Stream.STDOUT, Stream.STDERR)}
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            tail.feed(piece.data)
            if lines := list(splitters[piece.stream].feed(piece.data)):
                await observer.output(lines)
    for splitter in splitters.values():
        if lines := list(splitter.end()):
            await observer.output(lines)
