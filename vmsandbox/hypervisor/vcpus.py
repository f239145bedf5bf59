"""How many vCPUs a machine can have: the one place that decides it."""

from vmsandbox.config import MOST_VCPUS
from vmsandbox.hypervisor.base import Accelerator

_RACE_MENDED = 8_001_000
"""The first QEMU (8.1) whose emulated vCPUs see each other's changes to code in order, as libvirt writes versions."""


def most_vcpus(accelerator: Accelerator, qemu: int) -> int:
    """The most vCPUs that a machine may have without its guest crashing because of it.

    QEMU before 8.1 emulates each vCPU in a thread of its own and has a race between them: a guest's kernel that patches
    its own code runs into its own breakpoint ("Oops: int3") and panics. One vCPU has nobody to race with. All vCPUs in
    one thread would do as well, but run no faster than one vCPU, and libvirt has no setting for it.

    Args:
        accelerator: how the machine runs.
        qemu: QEMU's version, major * 1,000,000 + minor * 1,000 + release (virConnectGetVersion).
    """
    return 1 if accelerator is Accelerator.TCG and qemu < _RACE_MENDED else MOST_VCPUS
