"""Processes, what they have open, when they began, and what a container is allowed."""

from vmsandbox.cri.metrics.metric import GAUGE, MeasuredContainer, Metric, Values, of, one, seconds


def _ulimits(container: MeasuredContainer) -> Values:
    processes = container.measures.processes
    return {} if processes is None or processes.files_max is None else {("max_open_files",): processes.files_max}


PROCESSES: tuple[Metric[MeasuredContainer], ...] = (
    Metric(
        "container_processes",
        "Processes of the container.",
        GAUGE,
        lambda c: of(c.measures.processes, lambda processes: processes.processes),
    ),
    Metric(
        "container_threads",
        "Threads of the container.",
        GAUGE,
        lambda c: of(c.measures.processes, lambda processes: processes.threads),
    ),
    Metric(
        "container_threads_max",
        "Threads that the container may have.",
        GAUGE,
        lambda c: of(c.measures.processes, lambda processes: processes.threads_max),
    ),
    Metric(
        "container_file_descriptors",
        "Open file descriptors of the container's processes; counted up to 4096.",
        GAUGE,
        lambda c: of(c.measures.processes, lambda processes: processes.descriptors),
    ),
    Metric(
        "container_sockets",
        "Open file descriptors that are sockets.",
        GAUGE,
        lambda c: of(c.measures.processes, lambda processes: processes.sockets),
    ),
    Metric(
        "container_ulimits_soft",
        "Soft limits of the container's first process; absent if unlimited.",
        GAUGE,
        _ulimits,
        ("ulimit",),
    ),
    Metric(
        "container_last_seen",
        "When the guest measured the container, in seconds since the epoch by its clock.",
        GAUGE,
        lambda c: one(seconds(c.usage.at)),
    ),
    Metric(
        "container_start_time_seconds",
        "When the container was started, in seconds since the epoch.",
        GAUGE,
        lambda c: one(seconds(c.status.started_at)),
    ),
)

LIMITS: tuple[Metric[MeasuredContainer], ...] = (
    Metric(
        "container_spec_cpu_period",
        "Period of the CPU limit in microseconds, where one is set.",
        GAUGE,
        lambda c: one(c.status.config.resources.cpu_period or None),
    ),
    Metric(
        "container_spec_cpu_quota",
        "CPU time in microseconds that the limit allows in a period, where one is set.",
        GAUGE,
        lambda c: one(max(0, c.status.config.resources.cpu_quota) or None),
    ),
    Metric(
        "container_spec_cpu_shares",
        "Weight of the container when CPUs are short, where one is set.",
        GAUGE,
        lambda c: one(c.status.config.resources.cpu_shares or None),
    ),
    Metric(
        "container_spec_memory_limit_bytes",
        "Memory limit of the container; 0: no limit.",
        GAUGE,
        lambda c: one(c.measures.memory.limit or 0),
    ),
    Metric(
        "container_spec_memory_reservation_limit_bytes",
        "Memory of the container that is protected from reclaim.",
        GAUGE,
        lambda c: one(c.measures.memory.reservation),
    ),
    Metric(
        "container_spec_memory_swap_limit_bytes",
        "Swap that the container may have beside its memory; 0: none, or no limit.",
        GAUGE,
        lambda c: one(c.measures.memory.swap_limit or 0),
    ),
)
