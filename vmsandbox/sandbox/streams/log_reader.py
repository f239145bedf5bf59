"""Reading a container's log in the CRI's format (see `logs`): what it holds, and what comes to it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vmsandbox.errors import FailedPrecondition, NotFound, hint_for_rights
from vmsandbox.fs.opening import regular_file
from vmsandbox.protocol.messages import Stream

_LOOK_AGAIN = 0.1
"""Seconds between looks at a log that has ended for now; a log has no event that every file system tells."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line of a log: a line that the container printed, or with `complete` unset a piece of one."""

    timestamp: str
    """RFC 3339."""
    stream: Stream
    complete: bool
    content: bytes

    @classmethod
    def parse(cls, line: bytes) -> "LogEntry":
        """The entry of a line, without its newline. Raises FailedPrecondition where it has not the CRI's form."""
        try:
            timestamp, stream, tag, content = line.split(b" ", 3)
            return cls(timestamp.decode(), Stream(stream.decode()), tag == b"F", content)
        except ValueError:
            raise FailedPrecondition(f"the log has a line that is not in the CRI's format: {line[:80]!r}") from None


async def follow_log(path: Path, *, ended: Callable[[], bool]) -> AsyncGenerator[LogEntry, None]:
    """The entries of a log, from its beginning, through its rotations, until `ended` says so and all is read.

    Args:
        path: of the log. A file that takes its place, after a rotation, is read from its beginning.
        ended: whether nothing comes any more; asked before the log is looked at for the last time.

    Raises:
        NotFound: there is no log.
        FailedPrecondition: it cannot be read.
    """
    file = _open(path)
    try:
        rest = b""
        while True:
            last, rotated = ended(), _is_rotated(file, path)
            for line in _lines(file, rest):
                if not line.endswith(b"\n"):
                    rest = line
                    break
                rest = b""
                yield LogEntry.parse(line[:-1])
            if rotated:
                file.close()
                file, rest = _open(path), b""
            elif last:
                return
            else:
                await asyncio.sleep(_LOOK_AGAIN)
    finally:
        file.close()


def _open(path: Path) -> BinaryIO:
    try:
        return regular_file(path)
    except FileNotFoundError:
        raise NotFound(f"there is no log {path}") from None
    except OSError as error:
        hint = hint_for_rights(error.errno)
        raise FailedPrecondition(f"the log {path} cannot be read: {error.strerror}", hint=hint) from None


def _lines(file: BinaryIO, rest: bytes) -> Iterator[bytes]:
    """Yield the lines that can be read now; the last one may lack its end."""
    for line in file:
        yield rest + line
        rest = b""
    if rest:
        yield rest


def _is_rotated(file: BinaryIO, path: Path) -> bool:
    """Whether another file is at the path; asked before the rest of this one is read."""
    with contextlib.suppress(FileNotFoundError):
        return not os.path.samestat(os.fstat(file.fileno()), path.lstat())
    return False
