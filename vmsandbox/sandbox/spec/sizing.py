"""How large the machine of a pod is: a pure function of what the pod declares."""

import math
from dataclasses import dataclass

from vmsandbox.config import MOST_VCPUS, MachineConfig
from vmsandbox.errors import InvalidArgument
from vmsandbox.model import PodSandboxConfig, Resources

MIB = 1024 * 1024
_PERIOD = 100_000
"""Microseconds of the kernel's period of CPU time, where it is not set (runtime-spec, CPU)."""


@dataclass(frozen=True, slots=True)
class MachineSize:
    """vCPUs, and bytes of guest memory."""

    vcpus: int
    memory: int


def machine_size(config: PodSandboxConfig, machine: MachineConfig, most_vcpus: int) -> MachineSize:
    """Return the size for a pod: what it may use in all, and an overhead for the guest's own kernel and agent.

    A pod that declares no limit gets the default. CPU is rounded up to whole vCPUs, memory to whole MiB. Where machines
    have fewer vCPUs than the pod declares, only because of how they are emulated here, it gets those.

    Args:
        config: of the pod; its limits are valid (`limits.check_resources`).
        machine: the settings, with the overhead and the size for a pod that declares nothing.
        most_vcpus: that a machine may have on this host.

    Raises:
        InvalidArgument: the pod declares more than any machine can have.
    """
    declared = config.resources
    vcpus = declared_vcpus(declared) or machine.vcpus
    if vcpus > MOST_VCPUS:
        raise InvalidArgument(f"the pod declares {vcpus} CPUs; a machine has at most {MOST_VCPUS}")
    memory = (declared.memory_limit or machine.memory) + machine.overhead
    return MachineSize(min(vcpus, most_vcpus), math.ceil(memory / MIB) * MIB)


def declared_vcpus(declared: Resources) -> int:
    """The vCPUs for which a limit of CPU is enough; 0 where there is none."""
    return math.ceil(declared.cpu_quota / (declared.cpu_period or _PERIOD)) if declared.cpu_quota > 0 else 0
