"""Standard output and standard error of the process: a write that fails is a sentence, and no character is an error.

`install` puts streams into `sys` that `print`, click and commands write to; `leave` ends the process when all that was
written is out. A closed descriptor is filled, so that no file that is opened later is taken for standard output.
"""

import contextlib
import errno
import io
import os
import sys
from typing import NoReturn, TextIO

from typing_extensions import Buffer, override

from vmsandbox.errors import FailedPrecondition

FAILED = 1


class _Descriptor(io.FileIO):
    """A standard descriptor. A reader that has left is a BrokenPipeError; other failures are told by name."""

    def __init__(self, number: int, title: str, *, important: bool) -> None:
        super().__init__(number, "w", closefd=False)
        self.name = f"<{title}>"
        self.lost = False
        """Whether something could not be written."""
        self._title, self._important = title, important

    @override
    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except (BrokenPipeError, BlockingIOError):
            raise
        except OSError as error:
            self.lost = True
            if self._important:
                raise cannot_write(self._title, error) from None
            return memoryview(data).nbytes


def cannot_write(title: str, error: OSError) -> FailedPrecondition:
    """The error of a standard stream that takes no more: `cannot write to standard output: No space left on device`."""
    return FailedPrecondition(f"cannot write to {title}: {error.strerror}")


def install() -> None:
    """Replace `sys.stdout` and `sys.stderr`. Standard error never fails, since errors could not be told then.

    A standard input that was closed is at its end (Python has no `sys.stdin` then).
    A character that the stream's encoding does not have is written as its number: `\\u20ac`.
    """
    for number in range(3):
        _fill(number)
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = _stream(1, "standard output", sys.stdout, important=True)
    sys.stderr = _stream(2, "standard error", sys.stderr, important=False)


def _fill(number: int) -> None:
    """Open a descriptor that was closed; a write to it fails as one to a closed descriptor."""
    try:
        os.fstat(number)
    except OSError as error:
        if error.errno == errno.EBADF:
            os.open(os.devnull, os.O_RDONLY)  # the lowest that is free, so this one


def _stream(number: int, title: str, before: TextIO | None, *, important: bool) -> TextIO:
    descriptor = _Descriptor(number, title, important=important)
    encoding = getattr(before, "encoding", None) or "utf-8"
    line_buffering = number == 2 or descriptor.isatty()
    buffer = io.BufferedWriter(descriptor)
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=line_buffering)


def leave(status: int) -> NoReturn:
    """End the process with a status, or with 1 where some of its output is lost.

    The interpreter is not taken down in order: that takes as long as half a command. Where libvirt was loaded it is,
    for what libvirt does when a process ends.
    """
    lost = _flush()
    status = status or (FAILED if lost else 0)
    if "libvirt" in sys.modules:
        for stream in (sys.stdout, sys.stderr):  # the interpreter would try once more, and since 3.13 tell of it
            with contextlib.suppress(FailedPrecondition, OSError):
                stream.close()
        sys.stdout = sys.stderr = None
        sys.exit(status)
    os._exit(status)


def _flush() -> bool:
    lost, told = False, _lost(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            lost = True
        except FailedPrecondition as error:
            lost = True
            if not told:
                sys.stderr.write(f"error: {error}\n")
    return lost or _lost(sys.stderr)


def _lost(stream: TextIO) -> bool:
    return bool(getattr(getattr(getattr(stream, "buffer", None), "raw", None), "lost", False))
