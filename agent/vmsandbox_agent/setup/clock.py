"""The guest's clock, corrected by the host's word (adjtimex(2)).

Small corrections go to the kernel's phase-locked loop, which also learns by how much the machine's oscillator is wrong:
that of an emulated one may be calibrated badly. The clock is then synchronised, and says so (STA_UNSYNC is not set).
"""

import ctypes
import os
import time

_ADJ_OFFSET, _ADJ_MAXERROR, _ADJ_ESTERROR, _ADJ_STATUS, _ADJ_TIMECONST = 0x1, 0x4, 0x8, 0x10, 0x20
_ADJ_SETOFFSET, _ADJ_NANO = 0x100, 0x2000
_STA_PLL = 0x1

_LOOP = _ADJ_OFFSET | _ADJ_MAXERROR | _ADJ_ESTERROR | _ADJ_STATUS | _ADJ_TIMECONST | _ADJ_NANO

_TIME_CONSTANT = 2
"""A sixteenth of what is missing is made up for in a second: for corrections that come each 10 to 20 s."""

_MOST_SLEWED = 500_000_000
"""Nanoseconds; the kernel's MAXPHASE."""

_ERROR = 50_000
"""Microseconds by which the clock may be wrong, as the kernel tells who asks (ntp_gettime(3))."""

_SECOND = 1_000_000_000


class Timex(ctypes.Structure):
    """`struct timex` (linux/timex.h) of 64-bit kernels. What the kernel does not change is not named."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_byte * 112),
    )


def slewing(nanoseconds: int) -> Timex:
    """Return the argument that has the kernel correct a difference by running faster or slower."""
    offset = max(-_MOST_SLEWED, min(_MOST_SLEWED, nanoseconds))
    return Timex(modes=_LOOP, offset=offset, maxerror=_ERROR, esterror=_ERROR, status=_STA_PLL, constant=_TIME_CONSTANT)


def stepping(nanoseconds: int) -> Timex:
    """Return the argument that has the kernel add to its time, and end an earlier correction."""
    order = slewing(0)
    order.modes |= _ADJ_SETOFFSET
    order.seconds, order.nanoseconds = divmod(nanoseconds, _SECOND)
    return order


def adjtimex(order: Timex) -> None:
    """adjtimex(2). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(order)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setting the clock: {os.strerror(number)}")


class KernelClock:
    """The machine's clock."""

    def read(self) -> int:
        """The time, in nanoseconds since the epoch."""
        return time.time_ns()

    def adjust(self, nanoseconds: int, *, step: bool) -> None:
        """Add to the time: at once, or by and by, and then half a second at most. Raises OSError."""
        adjtimex(stepping(nanoseconds) if step else slewing(nanoseconds))
