"""Which machines may be made now: as many as the host's memory allows, a few booting at a time, first come first."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.config import LimitsConfig
from vmsandbox.errors import ResourceExhausted

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    owner: str
    memory: int
    admitted: asyncio.Future[None]


class Admission:
    """Guest memory is committed from `admit` to `release`, whatever the machine does with it."""

    def __init__(self, budget: int, boots: int) -> None:
        """Commit at most `budget` bytes in all, and let `boots` machines boot side by side."""
        self._budget = budget
        self._committed: dict[str, int] = {}
        self._queue: deque[_Waiting] = deque()
        self._boots_at_once = boots
        self._boots = asyncio.Semaphore(boots)

    @classmethod
    def within(cls, limits: LimitsConfig) -> "Admission":
        """Keep to the settings; by default, to the memory that is available now and two boots for each CPU."""
        return cls(limits.memory or available_memory(), limits.parallel_boots or default_boots())

    def limit(self, limits: LimitsConfig) -> None:
        """Keep to other settings from now on. What is committed stays, and machines that boot go on.

        Without a limit in the settings the memory is what is available now, beside what is committed already.
        """
        self._budget = limits.memory or available_memory() + sum(self._committed.values())
        boots = limits.parallel_boots or default_boots()
        if boots != self._boots_at_once:  # Machines that boot, and those that wait for them, count by the old number.
            self._boots_at_once, self._boots = boots, asyncio.Semaphore(boots)
        self._refuse_too_large()
        self._proceed()

    async def admit(self, owner: str, memory: int) -> None:
        """Commit memory for a machine, when those that came before have got theirs and it is there.

        Raises:
            ResourceExhausted: all of the budget would not be enough.
        """
        if memory > self._budget:
            raise self._too_large(memory)
        waiting = _Waiting(owner, memory, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._proceed()
        try:
            await waiting.admitted
        except asyncio.CancelledError:
            self.release(owner)
            raise

    def adopt(self, owner: str, memory: int) -> None:
        """Commit the memory of a machine that runs already."""
        self._committed[owner] = memory

    def release(self, owner: str) -> None:
        """Give back what is committed for a machine, or its place in the queue. Succeeds where there is neither."""
        self._committed.pop(owner, None)
        for waiting in [waiting for waiting in self._queue if waiting.owner == owner]:
            self._queue.remove(waiting)
        self._proceed()

    @contextlib.asynccontextmanager
    async def booting(self) -> AsyncIterator[None]:
        """Have one of the places for machines that boot."""
        async with self._boots:
            yield

    def _refuse_too_large(self) -> None:
        for waiting in [waiting for waiting in self._queue if waiting.memory > self._budget]:
            self._queue.remove(waiting)
            if not waiting.admitted.done():
                waiting.admitted.set_exception(self._too_large(waiting.memory))

    def _too_large(self, memory: int) -> ResourceExhausted:
        return ResourceExhausted(
            f"the pod's machine has {memory // MIB} MiB, and all machines of this host together "
            f"may have {self._budget // MIB} MiB",
            hint="lower the pod's memory limit, or raise limits.memory in config.yaml",
        )

    def _proceed(self) -> None:
        """Admit from the head of the queue while there is room; a small pod does not overtake a large one."""
        while self._queue and sum(self._committed.values()) + self._queue[0].memory <= self._budget:
            waiting = self._queue.popleft()
            self._committed[waiting.owner] = waiting.memory
            if not waiting.admitted.done():
                waiting.admitted.set_result(None)


def available_memory() -> int:
    """Bytes that the host can give to new programs without swapping (proc(5) meminfo, MemAvailable)."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    found = next(line.split() for line in lines if line.startswith("MemAvailable:"))
    return int(found[1]) * 1024


def default_boots() -> int:
    """How many machines boot side by side where nothing is configured: twice the number of CPUs."""
    return 2 * len(os.sched_getaffinity(0))
