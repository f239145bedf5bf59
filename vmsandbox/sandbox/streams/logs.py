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

from vmsandbox import fs, log
from vmsandbox.errors import InvalidArgument
from vmsandbox.fs.below import made_below, opened_below
from vmsandbox.fs.opening import open_or_make, open_regular
from vmsandbox.moments import rfc3339
from vmsandbox.protocol import codec
from vmsandbox.protocol.messages import Stream

_log = log.get(__name__)

LINE_LIMIT = 16 * 1024
"""Bytes of content in one log line, as in containerd; a longer line is written in pieces."""

_MODE = 0o640
"""The mode of a log, as in containerd and CRI-O: collectors of logs are often members of root's group."""

_DIRECTORY_MODE = 0o755

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

    Writes go to the page cache, and a kill of the process keeps them. They may take long where the disk is slow: in the
    daemon a `LogWriter` makes them in a thread.
    """

    def __init__(self, path: Path | None, position: Path, pod_directory: Path | None = None) -> None:
        """Open, or take back, the log at `path`.

        Args:
            path: of the log; its directories are made where they are missing.
            position: the file that remembers how much of the output the log holds.
            pod_directory: a directory above the log, `log_directory` of the CRI; without it, the log's own. Neither it
                nor what is below it may be a link: pods may write there. Links above it are the administrator's.

        Raises:
            InvalidArgument: the log cannot be opened there.
        """
        self.path = path
        self._pod_directory = pod_directory
        self._position_fd = open_or_make(position, os.O_RDWR, 0o600)
        recorded = self._read_position()
        self._offsets = {stream: recorded.offsets.get(stream.value, 0) for stream in (Stream.STDOUT, Stream.STDERR)}
        self._pending = {stream: bytearray() for stream in self._offsets}
        try:
            if path is not None:
                self._truncate_to(path, recorded)
            self._fd = self._open()
        except BaseException:
            os.close(self._position_fd)
            raise
        self._refused = False
        self._write_position()

    def offset(self, stream: Stream) -> int:
        """Bytes of the stream that the log holds, from its beginning: what may be acknowledged."""
        return self._offsets[stream]

    def write(self, stream: Stream, data: bytes) -> int:
        """Take output in and write the lines that it completes; return the bytes that the log has grown by.

        What the disk refuses (it is full) is lost, with a warning: a container is not to stop for its log.
        """
        pending = self._pending[stream]
        pending += data
        taken = written = 0
        for entries, end in _entries(stream, pending):
            written += self._append(entries)
            taken = end
        del pending[:taken]
        self._has_taken(stream, taken)
        return written

    def end(self, stream: Stream) -> int:
        """Write what is left of the stream, which has ended, as a piece of a line; return as `write`."""
        rest = bytes(self._pending[stream])
        self._pending[stream].clear()
        written = self._append(_head(stream, b"P") + rest + b"\n") if rest else 0
        self._has_taken(stream, len(rest))
        return written

    def reopen(self) -> int:
        """Go on in a new, empty file at the same path (CRI ReopenContainerLog, after a rotation); return 0."""
        fresh = self._open()
        os.close(self._fd)
        self._fd = fresh
        self._write_position()
        return 0

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
        """A descriptor of the file at the log's path, made where it is missing. Raises InvalidArgument.

        Nothing but a regular file is opened, and no link is followed from the pod's directory on.
        """
        if self.path is None:
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        trusted, names = self._way(self.path)
        try:
            fs.make_missing(trusted, _DIRECTORY_MODE)
            with made_below(trusted, names, _DIRECTORY_MODE) as directory:
                return open_or_make(self.path.name, os.O_WRONLY | os.O_APPEND, _MODE, directory=directory)
        except OSError as error:
            raise _cannot_be_opened(self.path, error) from None

    def _truncate_to(self, path: Path, position: LogPosition) -> None:
        """Cut what a kill left behind the position, also when the file has been renamed by a rotation since."""
        if not position.inode:
            return
        trusted, names = self._way(path)
        try:
            with opened_below(trusted, names) as directory, os.scandir(directory) as entries:
                for entry in entries:
                    if entry.inode() == position.inode and entry.is_file(follow_symlinks=False):
                        _truncate(entry.name, directory, position)
        except FileNotFoundError:
            return  # the log has gone, or its directory
        except OSError as error:
            raise _cannot_be_opened(path, error) from None

    def _way(self, path: Path) -> tuple[Path, tuple[str, ...]]:
        """The directory up to which links may be followed, and the names from there to the log's directory."""
        trusted = (self._pod_directory or path.parent).parent
        return trusted, path.parent.relative_to(trusted).parts

    def _append(self, entries: bytes) -> int:
        try:
            _write_all(self._fd, entries)
            self._refused = False
        except OSError as error:
            if not self._refused:
                _log.warning("output is lost, since %s cannot be written: %s", self.path, error.strerror)
            self._refused = True
        return len(entries)

    def _has_taken(self, stream: Stream, count: int) -> None:
        """So many bytes more of the stream are in the log: only now, when all of their entries are."""
        if count:
            self._offsets[stream] += count
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


def _entries(stream: Stream, pending: bytearray) -> Iterator[tuple[bytes, int]]:
    """The entries of the lines, and of the pieces of too long lines, that `pending` holds; where in it they end.

    All have one timestamp, and no step is made for a single line, of which a guest can send 16384 in a chunk. They come
    in several parts, between which, when they are written, the event loop's thread has its turn.
    """
    full, piece = _head(stream, b"F"), _head(stream, b"P")
    start = 0
    while start < len(pending):
        end = pending.rfind(b"\n", start, start + LINE_LIMIT + 1)  # No line before it is too long.
        if end >= 0:
            yield full + pending[start:end].replace(b"\n", b"\n" + full) + b"\n", end + 1
            start = end + 1
        elif len(pending) - start > LINE_LIMIT:
            yield piece + pending[start : start + LINE_LIMIT] + b"\n", start + LINE_LIMIT
            start += LINE_LIMIT
        else:
            return


def _head(stream: Stream, tag: bytes) -> bytes:
    """An entry up to its content."""
    return b" ".join((rfc3339(time.time_ns()).encode(), stream.value.encode(), tag, b""))


def _truncate(name: str, directory: int, position: LogPosition) -> None:
    fd = open_regular(name, os.O_WRONLY, directory=directory)
    try:
        status = os.fstat(fd)
        if status.st_ino == position.inode:
            os.ftruncate(fd, min(position.length, status.st_size))
    finally:
        os.close(fd)


def _cannot_be_opened(path: Path, error: OSError) -> InvalidArgument:
    return InvalidArgument(f"the log {path} cannot be opened: {error.strerror}")
