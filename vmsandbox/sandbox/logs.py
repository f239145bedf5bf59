"""A container's log in the CRI's format, written so that a kill at any byte loses nothing and repeats nothing.

A line is `TIMESTAMP STREAM TAG CONTENT` (kubernetes/design: CRI logging); the tag is F for a line that ended with a
newline and P for a piece of one. Beside the log lies its position: how much of each stream the log holds, and how
long the log was then. A log longer than its position was cut short by a kill between the two writes; opening it
truncates it to the position, and the agent sends from there again.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from vmsandbox import log
from vmsandbox.errors import InvalidArgument
from vmsandbox.protocol import codec
from vmsandbox.protocol.messages import Stream

_log = log.get(__name__)

LINE_LIMIT = 16 * 1024
"""Bytes of content in one log line, as containerd has it; a longer line is written in pieces."""

_POSITION_SIZE = 512
"""The position is overwritten in place with one write inside one page, which a kill cannot tear."""


@dataclass(frozen=True, slots=True)
class LogPosition:
    """How much of a container's output its log holds."""

    inode: int = 0
    length: int = 0
    """Bytes of the log file."""
    offsets: dict[str, int] = field(default_factory=dict)
    """Bytes of each stream, by its name."""


class ContainerLog:
    """The log of one container; one writer owns it. Without a path only the offsets are counted.

    Writes go to the page cache in the event loop's thread: they are small, and a kill of the process keeps them.
    """

    def __init__(self, path: Path | None, position: Path) -> None:
        """Open, or take back, the log at `path`.

        Raises:
            InvalidArgument: the log cannot be opened there.
        """
        self._path = path
        self._position_fd = os.open(position, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        recorded = self._read_position()
        self._offsets = {stream: recorded.offsets.get(stream.value, 0) for stream in (Stream.STDOUT, Stream.STDERR)}
        self._pending = {stream: bytearray() for stream in self._offsets}
        if path is not None:
            _truncate_to(path, recorded)
        self._fd = self._open()
        self._refused = False
        self._write_position()

    def offset(self, stream: Stream) -> int:
        """Bytes of the stream that the log holds, from its beginning: what may be acknowledged."""
        return self._offsets[stream]

    def write(self, stream: Stream, data: bytes) -> None:
        """Take output in and write the lines that it completes.

        What the disk refuses (it is full) is lost, with a warning: a container is not to stop for its log.
        """
        pending = self._pending[stream]
        pending += data
        entries = bytearray()
        taken = 0
        for content, full in _lines(pending):
            entries += _entry(stream, b"F" if full else b"P", content)
            taken += len(content) + full
        del pending[:taken]
        self._append(stream, bytes(entries), taken)

    def end(self, stream: Stream) -> None:
        """The stream has ended: write what is left of it as a piece of a line."""
        rest = bytes(self._pending[stream])
        if rest:
            self._pending[stream].clear()
            self._append(stream, _entry(stream, b"P", rest), len(rest))

    def reopen(self) -> None:
        """Go on in a new file at the same path (CRI ReopenContainerLog, after a rotation)."""
        fresh = self._open()
        os.close(self._fd)
        self._fd = fresh
        self._write_position()

    def close(self) -> None:
        """Close the files; both stay."""
        os.close(self._fd)
        os.close(self._position_fd)

    def __enter__(self) -> Self:
        """The open log."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def _open(self) -> int:
        path = self._path or Path(os.devnull)
        try:
            if self._path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise InvalidArgument(f"the log {path} cannot be opened: {error.strerror}") from None

    def _append(self, stream: Stream, entries: bytes, taken: int) -> None:
        try:
            _write_all(self._fd, entries)
            self._refused = False
        except OSError as error:
            if not self._refused:
                _log.warning("output is lost, since %s cannot be written: %s", self._path, error.strerror)
            self._refused = True
        self._offsets[stream] += taken
        if taken:
            self._write_position()

    def _write_position(self) -> None:
        status = os.fstat(self._fd)
        offsets = {stream.value: offset for stream, offset in self._offsets.items()}
        record = codec.encode(LogPosition(status.st_ino, status.st_size, offsets))
        os.pwrite(self._position_fd, json.dumps(record).encode().ljust(_POSITION_SIZE), 0)

    def _read_position(self) -> LogPosition:
        text = os.pread(self._position_fd, _POSITION_SIZE, 0)
        return codec.decode(LogPosition, json.loads(text)) if text.strip() else LogPosition()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _lines(pending: bytearray) -> Iterator[tuple[bytes, bool]]:
    """The lines, and pieces of too long lines, that `pending` holds; whether each ended with a newline."""
    start = 0
    while start < len(pending):
        end = pending.find(b"\n", start, start + LINE_LIMIT + 1)
        if end >= 0:
            yield bytes(pending[start:end]), True
            start = end + 1
        elif len(pending) - start > LINE_LIMIT:
            yield bytes(pending[start : start + LINE_LIMIT]), False
            start += LINE_LIMIT
        else:
            return


def _entry(stream: Stream, tag: bytes, content: bytes) -> bytes:
    return b" ".join((_timestamp().encode(), stream.value.encode(), tag, content)) + b"\n"


def _timestamp() -> str:
    """RFC 3339 with nanoseconds, in UTC."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


def _truncate_to(path: Path, position: LogPosition) -> None:
    """Cut what a kill left behind the position, also when the file has been renamed by a rotation since."""
    if not position.inode or not path.parent.is_dir():
        return
    with os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.inode() == position.inode and entry.is_file(follow_symlinks=False):
                os.truncate(entry.path, min(position.length, entry.stat(follow_symlinks=False).st_size))
