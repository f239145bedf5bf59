"""Libvirt's domain XML from a `MachineSpec`, and disks from libvirt's XML: pure functions."""

from vmsandbox.hypervisor.xml.disks import PluggedDisk, disk_name, disk_xml, free_target, plugged_disks
from vmsandbox.hypervisor.xml.domain import METADATA, domain_xml, security_models

__all__ = [
    "METADATA",
    "PluggedDisk",
    "disk_name",
    "disk_xml",
    "domain_xml",
    "free_target",
    "plugged_disks",
    "security_models",
]
