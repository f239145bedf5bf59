"""A container's cgroup (v2): the processes in it, what was killed in it for want of memory, and what it uses."""

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.protocol.messages import ListedProcess, Measures
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.measures import listing, measuring, processes
from vmsandbox_agent.measures.cgroup_files import counters, limit, number

_FREEZING = 10.0
"""Seconds in which the kernel stops all processes of a cgroup; one that waits for a disk does not stop."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cache:
    """The part of a cgroup's memory that holds files, including programs; all fields but the last are bytes."""

    limit: int
    """The limit on the cgroup's whole memory; 0: none."""
    size: int
    read_again: int
    """Pages that were read again after they had left the cache."""
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
            return self._kills + counters(self._path / "memory.events").get("oom_kill", 0)
        return self._kills

    def kill_for_memory(self) -> bool:
        """Kill all in it as the kernel does for want of memory; False where there is no such cgroup."""
        killed = self.signal_all(signal.SIGKILL)
        self._kills += killed
        return killed

    def cache(self) -> Cache | None:
        """Return the cgroup's memory of files; None if the cgroup does not exist."""
        try:
            memory = counters(self._path / "memory.stat")
            return Cache(
                limit=limit(self._path / "memory.max") or 0,
                size=memory["active_file"] + memory["inactive_file"],
                read_again=memory["workingset_refault_file"] * _PAGE,
                major_faults=memory["pgmajfault"],
            )
        except OSError:
            return None

    def unevictable(self) -> int:
        """Return the bytes that the kernel cannot take from it, since the guest has no swap; 0 if it does not exist."""
        try:
            parts = counters(self._path / "memory.stat")
            evictable = parts["active_file"] + parts["inactive_file"] + parts.get("slab_reclaimable", 0)
            return max(0, number(self._path / "memory.current") - evictable)
        except OSError:
            return 0

    def measure(self, container_id: str, first: int, *, averages: bool = False) -> Measures | None:
        """Return the usage of the container whose first process is `first`; None if the cgroup does not exist.

        Args:
            container_id: of the container.
            first: the pid of its first process.
            averages: whether to tell the averages of pressure.
        """
        try:
            return Measures(
                container_id,
                cpu=measuring.cpu(self._path),
                memory=measuring.memory(self._path, self.oom_kills()),
                pressure=measuring.pressure(self._path, averages=averages),
                disks=measuring.disks(self._path),
                huge_pages=measuring.huge_pages(self._path),
                processes=processes.measure(self._path, first),
            )
        except OSError:
            return None

    def processes(self) -> tuple[ListedProcess, ...]:
        """Return the processes in it, for people."""
        return listing.listed(self._path)

    def freeze(self, *, frozen: bool) -> None:
        """Keep all in it from running, or let them go on; return when they do. Raises OSError, AgentError."""
        (self._path / "cgroup.freeze").write_text(str(int(frozen)))
        deadline = time.monotonic() + _FREEZING
        with (self._path / "cgroup.events").open() as events:
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            while f"frozen {int(frozen)}" not in events.read().splitlines():
                if (left := deadline - time.monotonic()) <= 0:
                    raise AgentError("deadline_exceeded", f"a process in {self._path} cannot be stopped")
                poll.poll(left * 1000)
                events.seek(0)

    def signal_all(self, number: int) -> bool:
        """Send a signal to every process in it and below; False where there is no such cgroup."""
        if not self._path.is_dir():
            return False
        if number == signal.SIGKILL and (self._path / "cgroup.kill").exists():
            (self._path / "cgroup.kill").write_text("1")
        else:
            for pid in processes.members(self._path):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        return True
