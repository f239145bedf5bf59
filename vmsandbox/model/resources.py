"""What containers may use, and what they use."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Resources:
    """CRI LinuxContainerResources; 0 means not set."""

    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit: int = 0
    memory_swap_limit: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    unified: dict[str, str] = field(default_factory=dict)
    hugepage_limits: dict[str, int] = field(default_factory=dict)
    """Bytes by page size (`2MB`); a guest has no huge pages, so only 0 is possible."""


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """What a container uses (CRI ContainerStats): CPU time in nanoseconds since it began, memory in bytes."""

    at: int
    """Nanoseconds since the epoch."""
    cpu: int
    memory: int
    """All that is charged to it, file pages that could be dropped among it."""
    working_set: int
    """`memory` without file pages that have not been used of late."""
    rss: int
    """Anonymous memory."""
    page_faults: int
    major_page_faults: int
    memory_limit: int = 0
    """0: none of its own."""
