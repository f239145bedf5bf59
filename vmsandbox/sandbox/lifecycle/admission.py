"""Which machines may be made now: as many as the host's memory allows, a few booting at a time, first come first."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
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


@dataclass(frozen=True, slots=True)
class AdmissionFigures:
    """The memory of the host that is committed, in bytes, and the number of sandboxes that wait and boot."""

    waiting: int
    committed: int
    budget: int
    booting: int
    most_booting: int
    spare: int
    """Bytes of machines of the pool."""


class Admission:
    """The memory that machines take of the host is committed, from `admit` to `release`.

    It is that of the guest and what it takes to run the machine (`Host.charge`). `change` follows a machine that grows
    or shrinks. Machines of the pool have what is left (`spare`): they end where a pod needs it, which no pod waits for.
    """

    def __init__(self, budget: int, boots: int, bound: int = 0) -> None:
        """Commit at most `budget` bytes in all, and let `boots` machines boot side by side."""
        self._budget = budget
        self.bound = bound or budget
        """Bytes that a machine may grow to, where its profile does not say: the same from one daemon to the next."""
        self._committed: dict[str, int] = {}
        self._queue: deque[_Waiting] = deque()
        self._boots_at_once = boots
        self._boots = asyncio.Semaphore(boots)
        self._booting = 0
        self._spare: dict[str, int] = {}
        self.on_shortage: Callable[[], None] = lambda: None
        """Is called when pods need memory that machines of the pool have (`shortage`)."""

    @property
    def figures(self) -> AdmissionFigures:
        """The figures now."""
        committed = sum(self._committed.values())
        spare = sum(self._spare.values())
        return AdmissionFigures(len(self._queue), committed, self._budget, self._booting, self._boots_at_once, spare)

    @classmethod
    def within(cls, limits: LimitsConfig) -> "Admission":
        """Keep to the settings; by default, to the memory that is available now and two boots for each CPU."""
        bound = limits.memory or total_memory()
        return cls(limits.memory or available_memory(), limits.parallel_boots or default_boots(), bound)

    def limit(self, limits: LimitsConfig) -> None:
        """Keep to other settings from now on. What is committed stays, and machines that boot go on.

        Without a limit in the settings the memory is what is available now, beside what is committed already.
        """
        self._budget = limits.memory or available_memory() + sum(self._committed.values())
        self.bound = limits.memory or total_memory()
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

    def admit_if_room(self, owner: str, memory: int) -> bool:
        """Commit memory for a machine that no pod waits for, where there is room and no pod waits; tell whether."""
        if room := self._has_room(memory):
            self._committed[owner] = memory
        return room

    def spare_if_room(self, owner: str, memory: int) -> bool:
        """Let a machine of the pool have memory, where there is room and no pod waits; tell whether."""
        if room := self._has_room(memory):
            self._spare[owner] = memory
        return room

    def spare(self, owner: str, memory: int) -> None:
        """Note the memory of a machine of the pool that runs already."""
        self._spare[owner] = memory

    def unspare(self, owner: str) -> None:
        """Forget the memory of a machine of the pool: it has ended, or is a pod's. Succeeds where there is none."""
        self._spare.pop(owner, None)

    @property
    def shortage(self) -> int:
        """The bytes that machines of the pool have and pods need."""
        return max(0, sum(self._committed.values()) + sum(self._spare.values()) - self._budget) if self._spare else 0

    def _has_room(self, memory: int) -> bool:
        taken = sum(self._committed.values()) + sum(self._spare.values())
        return not self._queue and taken + memory <= self._budget

    def adopt(self, owner: str, memory: int) -> None:
        """Commit the memory of a machine that runs already."""
        self._committed[owner] = memory
        self._press()

    def change(self, owner: str, memory: int) -> None:
        """Commit another amount for a machine; nothing for one that has been released meanwhile.

        A machine that grows does not wait, as nobody knows for how long: its caller may try again.

        Raises:
            ResourceExhausted: the machine would grow, and there is no room; what was committed stays.
        """
        if (before := self._committed.get(owner)) is None:
            return
        room = self._budget - sum(self._committed.values()) + before
        if memory > max(before, room):
            raise ResourceExhausted(
                f"the machine cannot take {memory // MIB} MiB of the host, with what it takes to run it: all machines "
                f"together may take {self._budget // MIB} MiB, and the others take {(self._budget - room) // MIB} MiB",
                hint="lower the pod's limits, end other pods, or raise limits.memory in config.yaml",
            )
        self.follow(owner, memory)

    def follow(self, owner: str, memory: int) -> None:
        """Commit what a machine has, whatever that is; nothing for one that has been released meanwhile."""
        if owner in self._committed:
            self._committed[owner] = memory
            self._proceed()

    def release(self, owner: str) -> None:
        """Give back what is committed for a machine, or its place in the queue. Succeeds where there is neither."""
        self._committed.pop(owner, None)
        for waiting in [waiting for waiting in self._queue if waiting.owner == owner]:
            self._queue.remove(waiting)
        self._proceed()

    def committed(self, owner: str) -> int:
        """Return the bytes that are committed for a machine."""
        return self._committed.get(owner, 0)

    @contextlib.asynccontextmanager
    async def booting(self) -> AsyncIterator[None]:
        """Have one of the places for machines that boot."""
        async with self._boots:
            self._booting += 1
            try:
                yield
            finally:
                self._booting -= 1

    def _refuse_too_large(self) -> None:
        for waiting in [waiting for waiting in self._queue if waiting.memory > self._budget]:
            self._queue.remove(waiting)
            if not waiting.admitted.done():
                waiting.admitted.set_exception(self._too_large(waiting.memory))

    def _too_large(self, memory: int) -> ResourceExhausted:
        return ResourceExhausted(
            f"the pod's machine takes {memory // MIB} MiB of the host, with what it takes to run it, and all machines "
            f"together may take {self._budget // MIB} MiB",
            hint="lower the pod's memory limit, or raise limits.memory in config.yaml",
        )

    def _proceed(self) -> None:
        """Admit from the head of the queue while there is room; a small pod does not overtake a large one."""
        while self._queue and sum(self._committed.values()) + self._queue[0].memory <= self._budget:
            waiting = self._queue.popleft()
            self._committed[waiting.owner] = waiting.memory
            if not waiting.admitted.done():
                waiting.admitted.set_result(None)
        self._press()

    def _press(self) -> None:
        if self.shortage:
            self.on_shortage()


def available_memory() -> int:
    """Bytes that the host can give to new programs without swapping (proc(5) meminfo, MemAvailable)."""
    return _meminfo("MemAvailable:")


def total_memory() -> int:
    """Bytes of the host's memory, without what its kernel has reserved (proc(5) meminfo, MemTotal)."""
    return _meminfo("MemTotal:")


def _meminfo(name: str) -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    found = next(line.split() for line in lines if line.startswith(name))
    return int(found[1]) * 1024


def default_boots() -> int:
    """How many machines boot side by side where nothing is configured: twice the number of CPUs."""
    return 2 * len(os.sched_getaffinity(0))
