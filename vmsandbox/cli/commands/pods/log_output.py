"""The output of `vmsandbox logs`: one container's bytes as they are, or the lines of several, each after a name."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from vmsandbox.cli import terminal
from vmsandbox.cli.control import Filter
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams import LogEntry

_MOST = 64 * 1024
"""Bytes of a line that are kept until its end comes; a longer line is printed in pieces."""


class LogOutput:
    """Prints entries of logs: standard error of a container to ours, all else to standard output."""

    def __init__(self, names: Sequence[str], *, timestamps: bool) -> None:
        """Print for these containers; several have prefixes."""
        self._timestamps = timestamps
        self._width = max(map(len, names), default=0) if len(names) > 1 else 0
        self._begun: dict[tuple[str, Stream], bytes] = {}

    def __enter__(self) -> Self:
        """Return the output."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Print the lines whose ends have not come."""
        for (name, stream), line in self._begun.items():
            if line and not isinstance(error, OSError):
                self._print(name, stream, line)

    def write(self, name: str, entry: LogEntry) -> None:
        """Print an entry."""
        head = f"{entry.timestamp} ".encode() if self._timestamps else b""
        if not self._width:
            end = b"\n" if entry.complete or self._timestamps else b""
            _write(entry.stream, head + entry.content + end)
            return
        begun = self._begun.pop((name, entry.stream), b"") or head
        line = begun + entry.content
        if entry.complete or len(line) > _MOST:
            self._print(name, entry.stream, line)
        else:
            self._begun[name, entry.stream] = line

    def _print(self, name: str, stream: Stream, line: bytes) -> None:
        output = terminal.ERR if stream is Stream.STDERR else terminal.OUT
        shown = line
        if output.is_terminal:
            shown = Filter(colours=output.draws, returns=False).feed(line, final=True).encode()
        _write(stream, f"{name:{self._width}} | ".encode() + shown + b"\n")


def _write(stream: Stream, data: bytes) -> None:
    file = sys.stderr.buffer if stream is Stream.STDERR else sys.stdout.buffer
    file.write(data)
    file.flush()
