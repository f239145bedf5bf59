"""How large the machine of a pod is: a pure function of what the pod declares."""

import math
from dataclasses import dataclass

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import PodSandboxConfig

MIB = 1024 * 1024
MOST_VCPUS = 240
"""Beyond it x86 machines need an IOMMU with interrupt remapping, which a domain here does not have."""


@dataclass(frozen=True, slots=True)
class MachineSize:
    """vCPUs, and bytes of guest memory."""

    vcpus: int
    memory: int


def machine_size(config: PodSandboxConfig, default: MachineSize, overhead: int) -> MachineSize:
    """The size for a pod: what it may use in all, and `overhead` bytes for the guest's own kernel and agent.

    A pod that declares no limit gets the default. CPU is rounded up to whole vCPUs, memory to whole MiB.

    Raises:
        InvalidArgument: the pod declares more than a machine can have.
    """
    declared = config.resources
    vcpus = default.vcpus
    if declared.cpu_quota > 0 and declared.cpu_period > 0:
        vcpus = math.ceil(declared.cpu_quota / declared.cpu_period)
    if vcpus > MOST_VCPUS:
        raise InvalidArgument(f"the pod declares {vcpus} CPUs; a machine has at most {MOST_VCPUS}")
    memory = (declared.memory_limit or default.memory) + overhead
    return MachineSize(vcpus, math.ceil(memory / MIB) * MIB)
