"""Measures of a container, from the files of its cgroup (v2)."""

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vmsandbox.protocol.messages import MAX_DISKS, CpuMeasures, DiskMeasures, MemoryMeasures, Pressure, Throttling
from vmsandbox_agent.measures.cgroup_files import counters, limit, number, table

_MICROSECOND = 1000
"""Nanoseconds."""

T = TypeVar("T")


def cpu(cgroup: Path) -> CpuMeasures:
    """Read the CPU time. Raises OSError."""
    times = counters(cgroup / "cpu.stat")
    usage, user, system = (times[f"{name}_usec"] * _MICROSECOND for name in ("usage", "user", "system"))
    throttling = None
    if "nr_periods" in times:
        throttled = times["throttled_usec"] * _MICROSECOND
        throttling = Throttling(times["nr_periods"], times["nr_throttled"], throttled)
    return CpuMeasures(usage, user, system, throttling)


def memory(cgroup: Path, oom_kills: int) -> MemoryMeasures:
    """Read the memory. Raises OSError."""
    parts = counters(cgroup / "memory.stat")
    return MemoryMeasures(
        current=number(cgroup / "memory.current"),
        **{name: parts[name] for name in ("anon", "file", "file_mapped", "inactive_file", "kernel")},
        page_faults=parts["pgfault"],
        major_page_faults=parts["pgmajfault"],
        limit_hits=counters(cgroup / "memory.events")["max"],
        oom_kills=oom_kills,
        reservation=_where_told(number, cgroup / "memory.min") or 0,
        limit=limit(cgroup / "memory.max"),
        swap_limit=_where_told(limit, cgroup / "memory.swap.max"),
        peak=_where_told(number, cgroup / "memory.peak"),
        swap=_where_told(number, cgroup / "memory.swap.current"),
    )


def pressure(cgroup: Path, *, averages: bool = False) -> dict[str, Pressure]:
    """Read the pressure, with its averages if asked for; empty if the kernel does not record it."""
    found = {}
    for resource in ("cpu", "memory", "io"):
        with contextlib.suppress(OSError):
            waits = table(cgroup / f"{resource}.pressure")
            some, full = (int(waits[who]["total"]) * _MICROSECOND for who in ("some", "full"))
            means = (_averages(waits[who]) for who in ("some", "full")) if averages else ()
            found[resource] = Pressure(some, full, *means)
    return found


def _averages(waits: dict[str, str]) -> tuple[float, ...]:
    return tuple(float(waits[f"avg{seconds}"]) for seconds in (10, 60, 300))


def disks(cgroup: Path) -> dict[str, DiskMeasures]:
    """Read the requests to each device; empty if the cgroup controller is missing."""
    told = ((device, counts) for device, counts in (_where_told(table, cgroup / "io.stat") or {}).items() if counts)
    return {device_name(device): _disk(device, counts) for device, counts in itertools.islice(told, MAX_DISKS)}


def huge_pages(cgroup: Path) -> dict[str, int]:
    """Bytes of huge pages by their size; nothing where there is no such controller."""
    found = {}
    for file in cgroup.glob("hugetlb.*.current"):
        if not file.name.endswith(".rsvd.current"):
            with contextlib.suppress(OSError):
                found[file.name.split(".")[1]] = number(file)
    return found


def _disk(device: str, counts: dict[str, str]) -> DiskMeasures:
    major, minor = map(int, device.split(":"))
    names = ("rios", "wios", "rbytes", "wbytes")
    return DiskMeasures(major, minor, *(int(counts.get(name, 0)) for name in names))


def device_name(device: str) -> str:
    """Return the name of a block device by its numbers (`8:0`): `/dev/sda`; the numbers if it has no name."""
    try:
        return f"/dev/{Path(f'/sys/dev/block/{device}').readlink().name}"
    except OSError:
        return device


def _where_told(read: Callable[[Path], T], file: Path) -> T | None:
    try:
        return read(file)
    except OSError:
        return None
