"""Libvirt's domain XML from a `MachineSpec`, and disks from libvirt's XML: pure functions."""

from vmsandbox.hypervisor.xml.capabilities import Capabilities
from vmsandbox.hypervisor.xml.claims import VSOCK_PORT, network_xml, share_xml, vsock_xml
from vmsandbox.hypervisor.xml.disks import PluggedDisk, disk_name, disk_xml, free_target, plugged_disks
from vmsandbox.hypervisor.xml.domain import METADATA, domain_xml
from vmsandbox.hypervisor.xml.hotplug import HotPlug, requested_xml

__all__ = [
    "METADATA",
    "VSOCK_PORT",
    "Capabilities",
    "HotPlug",
    "PluggedDisk",
    "disk_name",
    "disk_xml",
    "domain_xml",
    "free_target",
    "network_xml",
    "plugged_disks",
    "requested_xml",
    "share_xml",
    "vsock_xml",
]
