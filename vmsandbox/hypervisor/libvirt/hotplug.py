"""Questions and orders to libvirt about the memory of a domain: functions that block, for `Connection.call`."""

from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.monitor import ask
from vmsandbox.hypervisor.xml import HotPlug, requested_xml


def look(connection: "libvirt.virConnect", name: str) -> tuple[HotPlug, int]:
    """Return what a domain can have, and the bytes of memory that its guest has now.

    QEMU is asked how much memory the guest has: libvirt learns of it by an event, which QEMU holds back for a second.
    """
    domain = connection.lookupByName(name)
    hot_plug = HotPlug.of(domain.XMLDesc())
    plugged = _plugged_memory(domain) if hot_plug.booted < hot_plug.most else 0
    return hot_plug, hot_plug.booted + plugged


def request_memory(connection: "libvirt.virConnect", name: str, memory: int) -> None:
    """Have the guest plug in, or give back, memory until it has that many bytes beyond those that it booted with."""
    domain = connection.lookupByName(name)
    domain.updateDeviceFlags(requested_xml(domain.XMLDesc(), memory), libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _plugged_memory(domain: "libvirt.virDomain") -> int:
    devices = ask(domain, "query-memory-devices")
    return sum(int(device["data"]["size"]) for device in devices if device["type"] == "virtio-mem")
