"""The moments at which somebody sets this host's clock, or it wakes from a suspension (timerfd_create(2))."""

import asyncio
import ctypes
import errno
import os
import time
from collections.abc import AsyncGenerator

_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_ABSTIME_CANCEL_ON_SET = 1 | 2
_NEVER = 2**62
"""Seconds since the epoch; the kernel takes it for the end of time."""


class _TimerSpec(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_long) for name in ("every", "every_ns", "first", "first_ns"))


async def clock_jumps() -> AsyncGenerator[None, None]:
    """Yield after each of them, or once for several.

    Raises:
        OSError: the kernel gives no timer.
    """
    fd = _timer()
    loop, jumped = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, jumped.set)
    try:
        while True:
            await jumped.wait()
            jumped.clear()
            if _was_cancelled(fd):
                yield
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _timer() -> int:
    """A timer that never ends, but is cancelled when the clock is set; and again each time."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = _checked(libc.timerfd_create(time.CLOCK_REALTIME, _NONBLOCK_CLOEXEC))
    try:
        _checked(libc.timerfd_settime(fd, _ABSTIME_CANCEL_ON_SET, ctypes.byref(_TimerSpec(first=_NEVER)), None))
    except OSError:
        os.close(fd)
        raise
    return fd


def _was_cancelled(fd: int) -> bool:
    try:
        os.read(fd, 8)
    except OSError as error:
        return error.errno == errno.ECANCELED
    return False


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"a timer that sees the clock being set: {os.strerror(number)}")
    return result
