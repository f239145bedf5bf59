"""Limits of containers."""

from dataclasses import dataclass, field

from vmsandbox.protocol.bounds import Int64, UInt64


@dataclass(frozen=True, slots=True)
class Resources:
    """CRI LinuxContainerResources; 0 means not set."""

    cpu_period: Int64 = 0
    cpu_quota: Int64 = 0
    cpu_shares: Int64 = 0
    memory_limit: Int64 = 0
    memory_swap_limit: Int64 = 0
    oom_score_adj: Int64 = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    unified: dict[str, str] = field(default_factory=dict)
    hugepage_limits: dict[str, UInt64] = field(default_factory=dict)
    """Bytes by page size (`2MB`); a guest has no huge pages, so only 0 is possible."""
