"""The cgroup above those of all containers: what they may take of the machine together, so that the guest itself lives.

The kernel's own killer comes too late for a machine whose containers together need more than it has: it evicts the
programs of the agent and of everybody else, and reads them again, for minutes. Within a limit it is the containers
alone that are short, and the agent sees it (`PodWatch`).
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from vmsandbox.protocol.cpus import format_cpus, parse_cpus
from vmsandbox_agent import console
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.measures.cgroup import Cache, Cgroup
from vmsandbox_agent.measures.cgroup_files import limit, number
from vmsandbox_agent.measures.cpusets import share_out
from vmsandbox_agent.measures.room import Room
from vmsandbox_agent.measures.thrashing import Thrashing, ThrashingWatch

_WEIGHT = 20
"""CPU time of all containers together, where each process of the agent and of the kernel counts 100 (cpu.weight)."""
_ONE_CONTAINER = 75
"""The part of all processes, in percent, that one container may have."""
_LESS = 1 << 20
"""Bytes below what cannot be evicted, so that the kernel has to kill."""
_PROMISES = ("memory.min", "memory.low")


class PodCgroup:
    """The cgroup at `path`; where the agent has no cgroups (tests on a host), nothing happens."""

    def __init__(self, path: Path, online: Path, proc: Path = Path("/proc")) -> None:
        """See what the guest itself takes: no container exists yet.

        Args:
            path: of the cgroup.
            online: the file that lists the CPUs that the kernel uses.
            proc: the proc file system.
        """
        self.path = path
        self._online = online
        self._room = Room(proc)
        self._processes = 0
        """The processes that all containers may have together."""
        self._shares: dict[str, str] = {}
        """The content of `pids.max` of containers without a limit of their own."""
        self._promised: dict[str, str] = {}
        """The content of memory.min and memory.low."""
        self._bounded = 0
        """The size of the machine that the limits were made for."""
        self._expected = 0
        """The size that the host is about to give the machine, if that is less; 0: there is no such size."""
        self._fitting: asyncio.Future[None] | None = None
        self._spread: dict[str, str] = {}
        """The content of `cpuset.cpus`, by container."""
        self._watch = PodWatch(self)

    def bound(self) -> None:
        """Make it, and give it limits that fit the machine; call this again whenever the machine may have another size.

        Raises:
            OSError: the kernel refuses.
        """
        total = self._room.total()
        total = min(total, self._expected or total)
        if total == self._bounded or not self.path.parent.is_dir():
            return
        self.path.mkdir(exist_ok=True)
        self._room.scale(total)
        self._processes = self._room.threads(total)
        (self.path / "cpu.weight").write_text(str(_WEIGHT))
        (self.path / "pids.max").write_text(str(self._processes))
        (self.path / "memory.max").write_text(str(self._room.memory(total)))
        self.share_processes()
        self._bounded = total
        self._watch.limited()

    async def fit(self, leaving: int) -> None:
        """Have the limits fit the machine without `leaving` bytes, which the host is about to take; goes on to its end.

        Raises:
            AgentError: the containers use more than would be left for them; nothing has changed.
            OSError: the kernel refuses.
        """
        self._fitting = asyncio.ensure_future(self._fit(leaving, self._fitting))
        await asyncio.shield(self._fitting)

    def share_processes(self) -> None:
        """Have one container leave processes to the others, unless it was given a limit of its own."""
        given, self._shares = self._shares, {}
        most = str(self._processes * _ONE_CONTAINER // 100)
        for name in self._containers():
            with contextlib.suppress(OSError):  # It is gone.
                file = self.path / name / "pids.max"
                now = file.read_text().strip()
                if now in ("max", given.get(name)):
                    self._shares[name] = most
                    if now != most:
                        file.write_text(most)

    def promise(self) -> None:
        """Claim what containers have as memory.min and memory.low: else the kernel does not keep it (cgroup-v2.rst)."""
        containers = self._containers()
        for name in _PROMISES:
            values = [value for value in (_promised(self.path / each / name) for each in containers) if value]
            promised = "max" if "max" in values else str(sum(map(int, values)))
            if promised != self._promised.get(name, "0"):
                with contextlib.suppress(FileNotFoundError):  # There has been no container yet.
                    (self.path / name).write_text(promised)
                    self._promised[name] = promised

    def spread(self, wanted: Mapping[str, str]) -> None:
        """Have containers run on the machine's CPUs that stand for those of the host.

        Args:
            wanted: the CPUs of the host, by container; empty: all.

        Raises:
            ValueError: a list of CPUs is not valid.
            OSError: the kernel refuses.
        """
        sets = {name: parse_cpus(cpus) for name, cpus in wanted.items() if cpus}
        online = parse_cpus(self._online.read_text())
        chosen = {name: format_cpus(cpus) for name, cpus in share_out(sets, online).items()}
        for name in self._spread.keys() | chosen.keys():
            if self._spread.get(name, "") != chosen.get(name, ""):
                with contextlib.suppress(FileNotFoundError):  # It is gone.
                    (self.path / name / "cpuset.cpus").write_text(chosen.get(name, "") + "\n")
        self._spread = chosen

    def relieve(self, cache: Cache) -> None:
        """Have the kernel kill what it holds to be the worst: no limit that it can keep is left. Blocks meanwhile."""
        try:
            unevictable = number(self.path / "memory.current") - cache.size
            (self.path / "memory.max").write_text(str(max(0, unevictable - _LESS)))
            (self.path / "memory.max").write_text(str(self._room.memory(self._bounded)))
        except OSError as error:
            console.error(f"the machine is short of memory, and nothing can be killed: {error}")

    def _containers(self) -> list[str]:
        """The names of the cgroups below it."""
        try:
            with os.scandir(self.path) as entries:
                return [entry.name for entry in entries if entry.is_dir()]
        except FileNotFoundError:
            return []

    async def _fit(self, leaving: int, before: asyncio.Future[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        expected = self._room.total() - leaving if leaving else 0
        if expected and self.path.is_dir():
            await asyncio.to_thread(self._leave, self._room.memory(expected))
        self._expected = expected
        self.bound()

    def _leave(self, most: int) -> None:
        """Have containers use no more than `most` bytes, without caches. Blocks meanwhile. Raises AgentError."""
        if (used := Cgroup(self.path).unevictable()) <= most:
            with contextlib.suppress(OSError):  # Less than that can be dropped now, or the kernel has no such file.
                if (excess := number(self.path / "memory.current") - most) > 0:
                    (self.path / "memory.reclaim").write_text(str(excess))
            used = number(self.path / "memory.current")
        if used > most:
            raise AgentError(
                "failed_precondition",
                f"the containers use {used >> 20} MiB, and a smaller machine would leave them {most >> 20} MiB",
            )


class PodWatch(ThrashingWatch):
    """Ends the thrashing of all containers: the kernel chooses among them (oom_score_adj, memory.oom.group)."""

    def __init__(self, pod: PodCgroup) -> None:
        """Nothing is watched before `limited`."""
        super().__init__("the machine", Cgroup(pod.path))
        self._pod = pod
        self._relief: asyncio.Future[None] | None = None

    def _end(self, cache: Cache) -> None:
        if self._relief is None or self._relief.done():
            console.error(f"a container is killed: all together have {cache.size} bytes left for their programs")
            self._relief = asyncio.ensure_future(asyncio.to_thread(self._pod.relieve, cache))
        self._thrashing = Thrashing()


def _promised(file: Path) -> str:
    try:
        value = limit(file)
    except OSError:  # The container is gone.
        return ""
    return "max" if value is None else str(value)
