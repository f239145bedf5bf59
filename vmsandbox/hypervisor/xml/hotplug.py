"""The memory that can be plugged into a domain: written as XML, and read back from one that runs.

It is one virtio-mem device (libvirt.org/formatdomain.html#memory-devices), which is there from the start and gives the
guest as many of its blocks as libvirt requests.
"""

import math
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from vmsandbox.hypervisor.sizes import MEMORY_BLOCK
from vmsandbox.hypervisor.specification import MachineSpec
from vmsandbox.hypervisor.xml.elements import add, document

_DEVICE = "devices/memory[@model='virtio-mem']"


def pluggable_memory(spec: MachineSpec) -> int:
    """Return the bytes that can be plugged into a machine beyond those that it boots with, in whole blocks."""
    return math.ceil((spec.most.memory - spec.size.memory) / MEMORY_BLOCK) * MEMORY_BLOCK


def memory_device(size: int) -> ET.Element:
    """A device of memory, in bytes, of which the guest has nothing yet."""
    device = ET.Element("memory", model="virtio-mem")
    target = add(device, "target")
    add(target, "size", str(size // 1024), unit="KiB")
    add(target, "node", "0")
    add(target, "block", str(MEMORY_BLOCK // 1024), unit="KiB")
    add(target, "requested", "0", unit="KiB")
    return device


def requested_xml(domain: str, memory: int) -> str:
    """The memory device in the XML of a running domain, to update it by: the guest gets `memory` bytes of it.

    Raises:
        LookupError: the domain has no such device.
    """
    device = ET.fromstring(domain).find(_DEVICE)  # noqa: S314 - libvirt's own
    requested = None if device is None else device.find("target/requested")
    if device is None or requested is None:
        raise LookupError("the domain has no virtio-mem device")
    requested.text, requested.attrib["unit"] = str(memory // 1024), "KiB"
    return document(device)


@dataclass(frozen=True, slots=True)
class HotPlug:
    """The bytes of memory that a running domain can have."""

    booted: int
    """The memory that it has booted with."""
    most: int
    """All of it, with everything plugged in."""

    @classmethod
    def of(cls, domain: str) -> "HotPlug":
        """Read the XML of a running domain, where libvirt writes all memory in KiB."""
        root = ET.fromstring(domain)  # noqa: S314 - libvirt's own
        device, memory = int(root.findtext(f"{_DEVICE}/target/size", "0")), int(root.findtext("memory", ""))
        return cls((memory - device) * 1024, memory * 1024)
