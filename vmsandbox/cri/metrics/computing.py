"""CPU time, memory, and what containers wait for."""

from collections.abc import Callable, Iterator

from vmsandbox.cri.metrics.metric import COUNTER, GAUGE, MeasuredContainer, Metric, Values, of, one, seconds
from vmsandbox.protocol.messages import Pressure


def _failures(container: MeasuredContainer) -> Values:
    """The kernel counts a cgroup with all below it, so that both scopes are one."""
    memory = container.measures.memory
    faults = {"pgfault": memory.page_faults, "pgmajfault": memory.major_page_faults}
    return {(kind, scope): count for kind, count in faults.items() for scope in ("container", "hierarchy")}


def _pressure(resource: str, what: str) -> Iterator[Metric[MeasuredContainer]]:
    def metric(name: str, who: str, time: Callable[[Pressure], int]) -> Metric[MeasuredContainer]:
        return Metric(
            f"container_pressure_{resource}_{name}_seconds_total",
            f"Seconds in which {who} of the container's tasks waited for {what}.",
            COUNTER,
            lambda c: of(c.measures.pressure.get(resource), lambda pressure: seconds(time(pressure))),
        )

    yield metric("waiting", "at least one", lambda pressure: pressure.some)
    yield metric("stalled", "all", lambda pressure: pressure.full)


CPU: tuple[Metric[MeasuredContainer], ...] = (
    Metric(
        "container_cpu_usage_seconds_total",
        "Seconds of CPU time that the container has used, of all CPUs together.",
        COUNTER,
        lambda c: {("total",): seconds(c.measures.cpu.usage)},
        ("cpu",),
    ),
    Metric(
        "container_cpu_user_seconds_total",
        "Seconds of CPU time in the container's own programs.",
        COUNTER,
        lambda c: one(seconds(c.measures.cpu.user)),
    ),
    Metric(
        "container_cpu_system_seconds_total",
        "Seconds of CPU time in the guest's kernel on the container's behalf.",
        COUNTER,
        lambda c: one(seconds(c.measures.cpu.system)),
    ),
    Metric(
        "container_cpu_cfs_periods_total",
        "Periods of its CPU limit in which the container had something to run.",
        COUNTER,
        lambda c: of(c.measures.cpu.throttling, lambda throttling: throttling.periods),
    ),
    Metric(
        "container_cpu_cfs_throttled_periods_total",
        "Periods in which the container was stopped because it had used up its CPU limit.",
        COUNTER,
        lambda c: of(c.measures.cpu.throttling, lambda throttling: throttling.throttled_periods),
    ),
    Metric(
        "container_cpu_cfs_throttled_seconds_total",
        "Seconds for which the container was stopped by its CPU limit.",
        COUNTER,
        lambda c: of(c.measures.cpu.throttling, lambda throttling: seconds(throttling.throttled)),
    ),
)

MEMORY: tuple[Metric[MeasuredContainer], ...] = (
    Metric(
        "container_memory_usage_bytes",
        "Memory of the container, including its file pages.",
        GAUGE,
        lambda c: one(c.measures.memory.current),
    ),
    Metric(
        "container_memory_working_set_bytes",
        "Memory of the container without inactive file pages.",
        GAUGE,
        lambda c: one(c.usage.working_set),
    ),
    Metric(
        "container_memory_max_usage_bytes",
        "The most memory that the container ever had.",
        GAUGE,
        lambda c: one(c.measures.memory.peak),
    ),
    Metric(
        "container_memory_rss",
        "Bytes of anonymous memory.",
        GAUGE,
        lambda c: one(c.measures.memory.anon),
    ),
    Metric(
        "container_memory_cache",
        "Bytes of files, in memory.",
        GAUGE,
        lambda c: one(c.measures.memory.file),
    ),
    Metric(
        "container_memory_mapped_file",
        "Bytes of files that processes have mapped.",
        GAUGE,
        lambda c: one(c.measures.memory.file_mapped),
    ),
    Metric(
        "container_memory_kernel_usage",
        "Bytes that the guest's kernel needs for the container.",
        GAUGE,
        lambda c: one(c.measures.memory.kernel),
    ),
    Metric(
        "container_memory_swap",
        "Bytes that are swapped out.",
        GAUGE,
        lambda c: one(c.measures.memory.swap),
    ),
    Metric(
        "container_memory_failcnt",
        "How often the container was about to go beyond its memory limit.",
        COUNTER,
        lambda c: one(c.measures.memory.limit_hits),
    ),
    Metric(
        "container_memory_failures_total",
        "Page faults of the container (pgfault), and those of them that waited for a disk (pgmajfault).",
        COUNTER,
        _failures,
        ("failure_type", "scope"),
    ),
    Metric(
        "container_oom_events_total",
        "Processes of the container that were killed because memory was short.",
        COUNTER,
        lambda c: one(c.measures.memory.oom_kills),
    ),
    Metric(
        "container_hugetlb_usage_bytes",
        "Huge pages of the container.",
        GAUGE,
        lambda c: {(size,): used for size, used in c.measures.huge_pages.items()},
        ("pagesize",),
    ),
    Metric(
        "container_hugetlb_max_usage_bytes",
        "The most huge pages that the container ever had; unknown, because cgroup v2 does not record it.",
        GAUGE,
        lambda _: {},
        ("pagesize",),
    ),
)

PRESSURE: tuple[Metric[MeasuredContainer], ...] = (
    *_pressure("cpu", "a CPU"),
    *_pressure("memory", "memory"),
    *_pressure("io", "a disk"),
)
