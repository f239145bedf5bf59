"""A container's usage as runc tells it (`runc events --stats`); a pure function.

Its fields are those of cgroup v1, as in runc. The counters are those of the guest's kernel.
"""

from typing import Any

from vmsandbox.model import ContainerUsage
from vmsandbox.protocol.messages import DiskMeasures, Measures

_NO_LIMIT = 2**63 - 4096
"""The limit of cgroup v1 where there is none."""


def stats_from(usage: ContainerUsage) -> dict[str, Any]:
    """Return the part `data` of an event of the type `stats`."""
    measures = usage.measures
    return {
        "cpu": _cpu(measures),
        "memory": _memory(measures),
        "pids": _pids(measures),
        "blkio": _disks(measures.disks),
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _cpu(measures: Measures) -> dict[str, Any]:
    cpu, limited = measures.cpu, measures.cpu.throttling
    throttling = {}
    if limited is not None:
        throttling = {
            "periods": limited.periods,
            "throttledPeriods": limited.throttled_periods,
            "throttledTime": limited.throttled,
        }
    return {"usage": {"total": cpu.usage, "kernel": cpu.system, "user": cpu.user}, "throttling": throttling}


def _memory(measures: Measures) -> dict[str, Any]:
    memory = measures.memory
    limit, swap_limit = memory.limit or _NO_LIMIT, memory.swap_limit
    with_swap = _NO_LIMIT if memory.limit is None or swap_limit is None else memory.limit + swap_limit
    raw = {
        "anon": memory.anon,
        "file": memory.file,
        "file_mapped": memory.file_mapped,
        "inactive_file": memory.inactive_file,
        "kernel": memory.kernel,
        "pgfault": memory.page_faults,
        "pgmajfault": memory.major_page_faults,
        "oom_kill": memory.oom_kills,
    }
    usage = {"limit": limit, "usage": memory.current, "max": memory.peak or 0, "failcnt": memory.limit_hits}
    swap = {"limit": with_swap, "usage": memory.current + (memory.swap or 0), "failcnt": 0}
    return {"cache": memory.file, "usage": usage, "swap": swap, "kernel": {"usage": memory.kernel}, "raw": raw}


def _pids(measures: Measures) -> dict[str, int]:
    processes = measures.processes
    return {} if processes is None else {"current": processes.threads, "limit": processes.threads_max}


def _disks(disks: dict[str, DiskMeasures]) -> dict[str, Any]:
    told = [
        {"major": disk.major, "minor": disk.minor, "op": operation, "value": value}
        for disk in disks.values()
        for operation, value in (("Read", disk.read_bytes), ("Write", disk.written_bytes))
    ]
    return {"ioServiceBytesRecursive": told} if told else {}
