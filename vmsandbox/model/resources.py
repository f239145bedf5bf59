"""Limits of containers, and the size of a machine."""

from dataclasses import dataclass, field

from vmsandbox.protocol.bounds import Int64, UInt64


@dataclass(frozen=True, slots=True)
class MachineSize:
    """CPUs and memory of a machine."""

    vcpus: int
    memory: int
    """Bytes that the guest has, those of its kernel included."""


@dataclass(frozen=True, slots=True)
class SizeRules:
    """The settings that the size of one machine follows, as they were when the machine was made."""

    default: MachineSize
    """The size for a pod that declares nothing, without the overhead."""
    overhead: int
    """Bytes of memory for the guest's kernel and agent."""
    booted: MachineSize
    """The size that the machine boots with; its memory never gets less."""
    bound: MachineSize
    """The largest size that the pod may need, with the overhead."""


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
