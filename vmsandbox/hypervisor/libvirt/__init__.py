"""Machines as libvirt's domains: `LibvirtHypervisor` is a `vmsandbox.hypervisor.Hypervisor`.

Importing this package loads libvirt's library. `connection` is the one place that opens libvirt and calls it.
"""

from vmsandbox.hypervisor.libvirt.embedded import QEMU_GROUP, QEMU_USER
from vmsandbox.hypervisor.libvirt.hypervisor import LibvirtHypervisor

__all__ = ["QEMU_GROUP", "QEMU_USER", "LibvirtHypervisor"]
