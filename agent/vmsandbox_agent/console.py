"""Lines for whoever diagnoses the guest: to the kernel's log, and by it to the console that the host records."""

import os
from pathlib import Path

LINE = 900
"""Bytes of a record; the kernel cuts at about 1000 (LOG_LINE_MAX)."""

_ERROR, _INFO = 3, 6
_STDERR = 2


def use_kernel_log() -> None:
    """Make the kernel's log this process's stderr, so that what the interpreter itself says goes there, too."""
    with Path("/dev/kmsg").open("wb", buffering=0) as kmsg:
        os.dup2(kmsg.fileno(), _STDERR, inheritable=False)


def info(message: str) -> None:
    """Log what happens in the normal course."""
    _write(_INFO, message)


def error(message: str) -> None:
    """Log a failure, which may have several lines (a traceback)."""
    _write(_ERROR, message)


def _write(level: int, message: str) -> None:
    for line in message.splitlines():
        for start in range(0, len(line), LINE):
            record = line[start : start + LINE].encode(errors="replace")
            try:
                os.write(_STDERR, b"<%d>vmsandbox-agent: %s\n" % (level, record))
            except OSError:
                return  # A log that cannot be written must not end PID 1.
