"""Usage as containerd reads it: metrics of cgroup v2, from what the daemon tells (`oci.stats`). Pure functions."""

from collections.abc import Iterable, Mapping
from typing import Any

from vmsandbox.containerd.messages import message

_PACKAGE = "io.containerd.cgroups.v2"
_MICROSECOND = 1000


def metrics_from(stats: Mapping[str, Any]) -> Any:
    """Return the metrics of a container."""
    cpu, memory, pids = stats["cpu"], stats["memory"], stats["pids"]
    usage, throttling, raw = cpu["usage"], cpu["throttling"], memory["raw"]
    return message(
        f"{_PACKAGE}.Metrics",
        pids=message(f"{_PACKAGE}.PidsStat", current=pids.get("current") or 0, limit=pids.get("limit") or 0),
        cpu=message(
            f"{_PACKAGE}.CPUStat",
            usage_usec=usage["total"] // _MICROSECOND,
            user_usec=usage["user"] // _MICROSECOND,
            system_usec=usage["kernel"] // _MICROSECOND,
            nr_periods=throttling.get("periods", 0),
            nr_throttled=throttling.get("throttledPeriods", 0),
            throttled_usec=throttling.get("throttledTime", 0) // _MICROSECOND,
        ),
        memory=message(
            f"{_PACKAGE}.MemoryStat",
            **{name: raw[name] or 0 for name in ("anon", "file", "file_mapped", "inactive_file", "pgfault")},
            pgmajfault=raw["pgmajfault"] or 0,
            usage=memory["usage"]["usage"],
            usage_limit=memory["usage"]["limit"],
        ),
        memory_events=message(
            f"{_PACKAGE}.MemoryEvents", max=memory["usage"]["failcnt"] or 0, oom_kill=raw["oom_kill"] or 0
        ),
    )


def summed(every: Iterable[Any]) -> Any:
    """Return the metrics of a pod: those of its containers together."""
    total = message(f"{_PACKAGE}.Metrics")
    for each in every:
        for part, _ in each.ListFields():
            has, into = getattr(each, part.name), getattr(total, part.name)
            for field, value in has.ListFields():
                setattr(into, field.name, getattr(into, field.name) + value)
    return total
