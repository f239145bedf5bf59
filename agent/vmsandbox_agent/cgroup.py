"""A container's cgroup (v2): who is in it, what was killed in it for want of memory, and what it uses."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.protocol.messages import Measures

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cache:
    """What is left of a cgroup's memory for files, among them its programs; all but the last in bytes."""

    limit: int
    """Of its memory as a whole; 0: none."""
    size: int
    read_again: int
    """What was read after it had been in the cache before, ever."""
    major_faults: int
    """Page faults that waited for a read, ever."""


class Cgroup:
    """The cgroup at `path`, which crun makes and removes; everything here copes with its absence."""

    def __init__(self, path: Path) -> None:
        """Name the cgroup."""
        self._path = path
        self._kills = 0

    @property
    def pressure(self) -> Path:
        """The file that tells of those who wait for memory (accounting/psi)."""
        return self._path / "memory.pressure"

    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory, and how often `kill_for_memory` has."""
        with contextlib.suppress(OSError):
            return self._kills + self._counters("memory.events").get("oom_kill", 0)
        return self._kills

    def kill_for_memory(self) -> bool:
        """Kill all in it as the kernel does for want of memory; False where there is no such cgroup."""
        killed = self.signal_all(signal.SIGKILL)
        self._kills += killed
        return killed

    def cache(self) -> Cache | None:
        """What is left for files in it; None where there is no such cgroup."""
        try:
            memory = self._counters("memory.stat")
            return Cache(
                limit=self._limit(),
                size=memory["active_file"] + memory["inactive_file"],
                read_again=memory["workingset_refault_file"] * _PAGE,
                major_faults=memory["pgmajfault"],
            )
        except OSError:
            return None

    def measure(self, container_id: str) -> Measures | None:
        """What it uses, under the name of its container; None where there is no such cgroup."""
        try:
            memory = self._counters("memory.stat")
            return Measures(
                container_id,
                cpu=self._counters("cpu.stat")["usage_usec"] * 1000,
                memory=int((self._path / "memory.current").read_text()),
                inactive_file=memory["inactive_file"],
                anon=memory["anon"],
                page_faults=memory["pgfault"],
                major_page_faults=memory["pgmajfault"],
                memory_limit=self._limit(),
            )
        except OSError:
            return None

    def signal_all(self, number: int) -> bool:
        """Send a signal to every process in it and below; False where there is no such cgroup."""
        if not self._path.is_dir():
            return False
        if number == signal.SIGKILL and (self._path / "cgroup.kill").exists():
            (self._path / "cgroup.kill").write_text("1")
        else:
            for members in self._path.rglob("cgroup.procs"):
                _signal_members(members, number)
        return True

    def _limit(self) -> int:
        limit = (self._path / "memory.max").read_text().strip()
        return 0 if limit == "max" else int(limit)

    def _counters(self, file: str) -> dict[str, int]:
        """A file of `name number` lines."""
        lines = (self._path / file).read_text().splitlines()
        return {name: int(count) for name, _, count in (line.partition(" ") for line in lines)}


def _signal_members(members: Path, number: int) -> None:
    with contextlib.suppress(OSError):
        for pid in members.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)
