"""The disks of a domain: written as XML (libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms) and read back.

A disk is a target of the one SCSI controller, and told from others by its serial number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from vmsandbox.errors import ResourceExhausted
from vmsandbox.hypervisor.specification import Disk
from vmsandbox.hypervisor.xml.elements import add, document

_SCSI_TARGETS = 256


def disk_xml(disk: Disk, target: int) -> str:
    """A disk to plug in, as SCSI target `target` of the controller."""
    return document(disk_element(disk, target))


def disk_element(disk: Disk, target: int) -> ET.Element:
    """The disk as a device of a domain, which is SCSI target `target` of the controller."""
    element = ET.Element("disk", type="block" if disk.blocks else "file", device="disk")
    driver = add(element, "driver", name="qemu", type="raw", discard="unmap")
    add(element, "source", **{"dev" if disk.blocks else "file": str(disk.path)})
    add(element, "target", dev=disk_name(target), bus="scsi")
    if disk.readonly:
        add(element, "readonly")
        add(element, "shareable")
    if disk.blocks:
        driver.set("cache", "none")  # the host keeps nothing back that the guest has flushed
        for policy in ("error_policy", "rerror_policy"):
            driver.set(policy, "report")  # else a full device stops the machine
        blocks = {"logical_block_size": disk.blocks.logical, "physical_block_size": disk.blocks.physical}
        add(element, "blockio", **{name: str(size) for name, size in blocks.items()})
    elif not disk.readonly:
        driver.set("cache", "unsafe")  # it dies with its machine, so that nothing need ever reach the platter
        driver.set("detect_zeroes", "unmap")
    _throttle(element, {"total_bytes_sec": disk.bandwidth, "total_iops_sec": disk.iops})
    add(element, "serial", disk.serial)
    add(element, "address", type="drive", controller="0", bus="0", target=str(target), unit="0")
    return element


def _throttle(disk: ET.Element, rates: Mapping[str, int]) -> None:
    if given := {name: rate for name, rate in rates.items() if rate}:
        tuned = add(disk, "iotune")
        for name, rate in given.items():
            add(tuned, name, str(rate))


@dataclass(frozen=True, slots=True)
class PluggedDisk:
    """A disk of a running domain."""

    serial: str
    target: int
    alias: str
    """Libvirt's name for the device, which its events carry."""


def plugged_disks(domain: str) -> tuple[PluggedDisk, ...]:
    """The disks in the XML of a running domain."""
    return tuple(
        PluggedDisk(
            disk.findtext("serial", ""), int(_attribute(disk, "address", "target")), _attribute(disk, "alias", "name")
        )
        for disk in ET.fromstring(domain).iterfind("devices/disk")  # noqa: S314 - libvirt's own
    )


def free_target(disks: Iterable[PluggedDisk]) -> int:
    """The lowest SCSI target that no disk has. Raises ResourceExhausted when there is none."""
    taken = {disk.target for disk in disks}
    for target in range(_SCSI_TARGETS):
        if target not in taken:
            return target
    raise ResourceExhausted(f"the machine has {len(taken)} disks, and there is no SCSI target left")


def disk_name(index: int) -> str:
    """Sda, sdb, … sdz, sdaa: what libvirt wants to call a disk; the guest's names are its own."""
    name = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        name = chr(ord("a") + letter) + name
    return f"sd{name}"


def _attribute(element: ET.Element, child: str, name: str) -> str:
    found = element.find(child)
    return "" if found is None else found.get(name, "")
