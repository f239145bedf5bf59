"""The cgroups that processes are in, and the limits that hold there, read from the kernel. Its calls block."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from vmsandbox.model import HostCgroup, MachineProcess
from vmsandbox.process import name_of, oom_score_of
from vmsandbox.sandbox.machines.cgroups.hierarchies import Hierarchies

_NO_LIMIT = 1 << 62
"""Version 1 writes no limit of memory as the largest number of pages."""


def processes(pids: Iterable[int]) -> Iterator[MachineProcess]:
    """Yield what is known of processes, without those that have ended."""
    for pid in sorted(pids):
        with contextlib.suppress(OSError):
            groups = Path(f"/proc/{pid}/cgroup").read_text()
            yield MachineProcess(pid, name_of(pid), path_of(groups), oom_score_of(pid))


def path_of(groups: str) -> str:
    """The path in the hierarchy that limits memory, from /proc/PID/cgroup (cgroups(7)); empty: there is none."""
    found: dict[str, str] = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), path)
    return found.get("memory", found.get("", ""))


def chain(hierarchies: Hierarchies, paths: Iterable[str]) -> tuple[HostCgroup, ...]:
    """Return cgroups, and those above them that have limits, each once and the innermost first."""
    found: dict[str, HostCgroup] = {}
    for path in dict.fromkeys(filter(None, paths)):
        found[path] = cgroup(hierarchies, path)
        for above in map(str, Path(path).parents):
            if above not in found and (each := cgroup(hierarchies, above)).limits:
                found[above] = each
    return tuple(sorted(found.values(), key=lambda each: -len(Path(each.path).parts)))


def cgroup(hierarchies: Hierarchies, path: str) -> HostCgroup:
    """Read a cgroup by its path in all hierarchies."""
    mounted = hierarchies.directories()

    def read(controller: str, file: str) -> str:
        with contextlib.suppress(OSError):
            return (mounted.get(controller, hierarchies.root) / path.strip("/") / file).read_text().strip()
        return ""

    if hierarchies.unified:
        quota, _, period = read("", "cpu.max").partition(" ")
        shares, weight = None, _number(read("", "cpu.weight"))
        memory, limit = read("", "memory.current"), read("", "memory.max")
    else:
        quota, period = read("cpu", "cpu.cfs_quota_us"), read("cpu", "cpu.cfs_period_us")
        shares, weight = _number(read("cpu", "cpu.shares")), None
        memory, limit = read("memory", "memory.usage_in_bytes"), read("memory", "memory.limit_in_bytes")
    return HostCgroup(
        path,
        memory=_number(memory),
        memory_limit=_number(limit),
        cpu_limit=_cpus(quota, period),
        cpu_shares=shares,
        cpu_weight=weight,
        processes=_number(read("pids", "pids.current")),
        process_limit=_number(read("pids", "pids.max")),
    )


def _number(text: str) -> int | None:
    """The number of a file; None for one without a limit, or that is not there."""
    return int(text) if text.isdecimal() and int(text) < _NO_LIMIT else None


def _cpus(quota: str, period: str) -> float | None:
    """The CPUs of a quota; None without one."""
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None
