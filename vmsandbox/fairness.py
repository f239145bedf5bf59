"""The share of the process's time that the work for one pod takes, so that no pod starves the others.

The process has one event loop. A guest decides how many frames, events and lines of output it makes of a second, and
each costs the process some work. That work is charged to the guest's `TimeShare`, in seconds. A share that is overdrawn
waits before it takes more from its guest, whose connection then fills up, and whose containers block: by design,
output that is not acknowledged holds a container back. A pod that asks for little never waits.
"""

import asyncio
import contextlib
import time
import weakref
from collections.abc import Callable, Iterator

PART = 0.3
"""The part of the time that all busy shares get together; the rest is for those who ask for little."""

AHEAD = 0.02
"""Seconds of work that a pod may ask for at once, after it has asked for little."""

UNBROKEN = 0.0005
"""Seconds of work for a pod after which all else that is ready in the event loop has its turn."""

_SHORTEST = 0.001
"""Seconds of a wait: about what the event loop can tell apart."""


class Fairness:
    """Divides the time of one event loop among the guests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody works yet. `clock` tells the time in seconds."""
        self.clock = clock
        self.busy: weakref.WeakSet[TimeShare] = weakref.WeakSet()
        """The shares that were overdrawn, until they have earned `AHEAD` again."""

    @property
    def rate(self) -> float:
        """Seconds of work that a share earns in a second."""
        return PART / max(1, len(self.busy))


class TimeShare:
    """The loop's time for one guest. A guest has one share for output of containers, and one for everything else."""

    def __init__(self, among: Fairness | None = None) -> None:
        """Begin with `AHEAD`. Without `among` nobody else shares the time."""
        self._among = among or Fairness()
        self._credit = AHEAD
        self._at = self._among.clock()
        self._unbroken = 0.0

    def charge(self, seconds: float) -> None:
        """Note that so much work was done for the guest."""
        self._unbroken += seconds
        if self._earn(-seconds) < 0:
            self._among.busy.add(self)

    @contextlib.contextmanager
    def charged(self) -> Iterator[None]:
        """Charge the CPU time that the body takes, which must not await anything.

        No guest pays for the time in which this process is stopped or the host has its CPUs busy.
        """
        begin = time.thread_time()
        try:
            yield
        finally:
            self.charge(time.thread_time() - begin)

    @property
    def may_go_on(self) -> bool:
        """Whether more work may be done for the guest at once, without a `turn`."""
        return self._unbroken < UNBROKEN and self._credit >= 0

    async def turn(self) -> None:
        """Wait until more work may be done for the guest."""
        if self._unbroken >= UNBROKEN:
            self._unbroken = 0.0
            await asyncio.sleep(0)
        while (credit := self._earn()) < 0:  # noqa: ASYNC110 - time is what it waits for
            await asyncio.sleep(max(-credit / self._among.rate, _SHORTEST))

    def _earn(self, seconds: float = 0.0) -> float:
        """Add what was earned since the last time, and `seconds`; the credit after that."""
        now = self._among.clock()
        self._credit = min(AHEAD, self._credit + (now - self._at) * self._among.rate) + seconds
        self._at = now
        if self._credit >= AHEAD:
            self._among.busy.discard(self)
        return self._credit
