"""Lines for whoever diagnoses the guest: to the kernel's log, and by it to the console that the host records."""

import os
import sys

LINE = 900
"""Bytes of a record; the kernel cuts at about 1000 (LOG_LINE_MAX)."""

_KMSG = "/dev/kmsg"
_ERROR, _INFO = 3, 6


def info(message: str) -> None:
    """Log what happens in the normal course."""
    _write(_INFO, message)


def error(message: str) -> None:
    """Log a failure, which may have several lines (a traceback)."""
    _write(_ERROR, message)


def _write(level: int, message: str) -> None:
    records = [
        line[start : start + LINE].encode(errors="replace")
        for line in message.splitlines()
        for start in range(0, len(line), LINE)
    ]
    try:
        fd = os.open(_KMSG, os.O_WRONLY | os.O_CLOEXEC) if os.getpid() == 1 else os.dup(2)
    except OSError:
        fd = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    try:
        for record in records:
            os.write(fd, b"<%d>vmsandbox-agent: %s\n" % (level, record))
    except OSError:
        pass  # A log that cannot be written must not end PID 1.
    finally:
        os.close(fd)
