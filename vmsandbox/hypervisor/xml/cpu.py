"""The CPU of a machine, and the things that an emulated one had better not use."""

from xml.etree import ElementTree as ET

from vmsandbox.hypervisor.specification import Accelerator
from vmsandbox.hypervisor.xml.capabilities import Capabilities
from vmsandbox.hypervisor.xml.elements import add

_FLAGS_MENDED = 8_000_000
"""The first QEMU (8.0) whose emulated `cmpxchg16b` leaves the flags as it should, as libvirt writes versions."""
_NO_CMPXCHG16B = "clearcpuid=cx16"
"""A parameter of the kernel (Documentation/admin-guide/kernel-parameters.txt). Programs still have the instruction."""


def add_cpu(domain: ET.Element, accelerator: Accelerator, capabilities: Capabilities) -> ET.Element:
    """Add all that the host's CPU has, or that QEMU emulates.

    An emulated CPU does not announce quick string instructions. Programs that see them copy and clear with `rep movsb`
    and `rep stosb`, which QEMU emulates byte by byte (guest-image/README.md).
    """
    if accelerator is Accelerator.KVM:
        return add(domain, "cpu", mode="host-passthrough")
    cpu = add(domain, "cpu", mode="maximum")
    for name in capabilities.string_features:
        add(cpu, "feature", policy="disable", name=name)
    return cpu


def kernel_parameters(accelerator: Accelerator, capabilities: Capabilities) -> str:
    """Return the parameters for the guest's kernel that its CPU needs.

    An older QEMU's `cmpxchg16b` computes the flags from what an earlier instruction has left, so that any of them may
    be set after it. The kernel allocates memory with it, and an interrupt between it and the next instruction that sets
    the flags saves them: going back to such flags is a fault, and the kernel panics.
    """
    wrong = accelerator is Accelerator.TCG and capabilities.qemu_version < _FLAGS_MENDED
    return _NO_CMPXCHG16B if wrong else ""
