"""Domain XML (libvirt.org/formatdomain.html) from a `MachineSpec`: pure functions, and the one place that knows XML.

Every PCI device has its address on the root bus, because each root port that libvirt would otherwise add costs boot
time and a device of the guest; disks come and go on the SCSI controller, which needs none.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from vmsandbox.errors import ResourceExhausted
from vmsandbox.hypervisor.base import Accelerator, Disk, MachineSpec, NetworkDevice, Share
from vmsandbox.model import Vsock

ROOT_SERIAL = "vmsandbox-root"
"""Of the disk on which the guest finds its root."""
METADATA = "urn:vmsandbox:machine:1"
"""Namespace of the element that marks a domain as ours."""

_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
_SCSI_TARGETS = 256
_MTU_OF_ETHERNET = 1500

_SCSI, _CONSOLE, _NETWORK, _RNG, _BALLOON, _SHARE, _VSOCK = range(2, 9)
"""Slots on the root bus. 0 and 0x1f are the chipset's."""
_VHOST_USER_VSOCK = "0x1e"

for _prefix, _uri in (("qemu", _QEMU), ("vmsandbox", METADATA)):
    ET.register_namespace(_prefix, _uri)


def domain_xml(spec: MachineSpec, security_models: Collection[str] = ("dac",)) -> str:
    """The domain of a machine.

    Args:
        spec: what the machine has.
        security_models: libvirt's security drivers on this host (capabilities, `secmodel`).
    """
    domain = ET.Element("domain", type="kvm" if spec.accelerator is Accelerator.KVM else "qemu")
    _identity(domain, spec)
    _memory_and_cpu(domain, spec)
    _boot(domain, spec)
    _chipset(domain)
    _devices(_add(domain, "devices"), spec)
    _security(domain, spec, security_models)
    if spec.vsock.socket is not None:
        _vhost_user_vsock(domain, str(spec.vsock.socket))
    return _text(domain)


def disk_xml(disk: Disk, target: int) -> str:
    """A disk to plug in, as SCSI target `target` of the controller."""
    return _text(_disk(disk, target))


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


def security_models(capabilities: str) -> tuple[str, ...]:
    """The security drivers that libvirt's capabilities name."""
    found = ET.fromstring(capabilities).iterfind("host/secmodel/model")  # noqa: S314 - libvirt's own
    return tuple(model.text for model in found if model.text)


def _identity(domain: ET.Element, spec: MachineSpec) -> None:
    _add(domain, "name", spec.name)
    _add(domain, "uuid", spec.uuid)
    if spec.title:
        _add(domain, "title", "".join(filter(str.isprintable, spec.title)))  # no control character is XML
    _add(_add(domain, "metadata"), f"{{{METADATA}}}machine", build=spec.image.build)


def _memory_and_cpu(domain: ET.Element, spec: MachineSpec) -> None:
    _add(domain, "memory", str(math.ceil(spec.memory / 1024)), unit="KiB", dumpCore="off")
    backing = _add(domain, "memoryBacking")  # shared with virtiofsd and vhost-user devices
    _add(backing, "source", type="memfd")
    _add(backing, "access", mode="shared")
    _add(domain, "vcpu", str(spec.vcpus), placement="static")
    if spec.accelerator is Accelerator.KVM:
        _add(domain, "cpu", mode="host-passthrough")
    else:
        _add(domain, "cpu", mode="maximum")


def _boot(domain: ET.Element, spec: MachineSpec) -> None:
    boot = _add(domain, "os")
    _add(boot, "type", "hvm", arch="x86_64", machine="q35")
    _add(boot, "kernel", str(spec.image.kernel))
    _add(boot, "initrd", str(spec.image.initramfs))
    _add(boot, "cmdline", " ".join([spec.image.command_line, spec.kernel_parameters]).strip())


def _chipset(domain: ET.Element) -> None:
    features = _add(domain, "features")
    _add(features, "acpi")  # through which the guest finds pvpanic, and is powered off
    _add(features, "vmport", state="off")
    clock = _add(domain, "clock", offset="utc")
    _add(clock, "timer", name="hpet", present="no")
    for event, action in (("poweroff", "destroy"), ("reboot", "destroy"), ("crash", "destroy")):
        _add(domain, f"on_{event}", action)
    power = _add(domain, "pm")
    _add(power, "suspend-to-mem", enabled="no")
    _add(power, "suspend-to-disk", enabled="no")


def _devices(devices: ET.Element, spec: MachineSpec) -> None:
    devices.append(_disk(Disk(ROOT_SERIAL, spec.image.root), 0))
    if spec.scratch is not None:
        devices.append(_disk(spec.scratch, 1))
    _pci(_add(devices, "controller", type="scsi", index="0", model="virtio-scsi"), _SCSI)
    _pci(_add(devices, "controller", type="virtio-serial", index="0"), _CONSOLE)
    _add(devices, "controller", type="usb", model="none")
    _console(devices, str(spec.console))
    if spec.network is not None:
        _network(devices, spec.network)
    if spec.share is not None:
        _share(devices, spec.share)
    if spec.vsock.socket is None:
        _kernel_vsock(devices, spec.vsock)
    rng = _add(devices, "rng", model="virtio")
    _add(rng, "backend", "/dev/urandom", model="random")
    _pci(rng, _RNG)
    _pci(_add(devices, "memballoon", model="virtio", freePageReporting="on"), _BALLOON)
    _add(devices, "panic", model="isa")


def _disk(disk: Disk, target: int) -> ET.Element:
    element = ET.Element("disk", type="file", device="disk")
    driver = _add(element, "driver", name="qemu", type="raw", discard="unmap")
    _add(element, "source", file=str(disk.path))
    _add(element, "target", dev=_disk_name(target), bus="scsi")
    if disk.readonly:
        _add(element, "readonly")
        _add(element, "shareable")
    else:
        driver.set("cache", "unsafe")  # it dies with its machine, so that nothing need ever reach the platter
        driver.set("detect_zeroes", "unmap")
    _add(element, "serial", disk.serial)
    _add(element, "address", type="drive", controller="0", bus="0", target=str(target), unit="0")
    return element


def _disk_name(index: int) -> str:
    """Sda, sdb, … sdz, sdaa: what libvirt wants to call a disk; the guest's names are its own."""
    name = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        name = chr(ord("a") + letter) + name
    return f"sd{name}"


def _console(devices: ET.Element, path: str) -> None:
    console = _add(devices, "console", type="unix")
    _add(console, "source", mode="bind", path=path)
    _add(console, "target", type="virtio", port="0")


def _network(devices: ET.Element, network: NetworkDevice) -> None:
    interface = _add(devices, "interface", type="ethernet")
    _add(interface, "mac", address=network.mac)
    _add(interface, "target", dev=network.tap, managed="no")
    _add(interface, "model", type="virtio")
    if network.mtu != _MTU_OF_ETHERNET:
        _add(interface, "mtu", size=str(network.mtu))
    _add(interface, "rom", enabled="no")
    _pci(interface, _NETWORK)


def _share(devices: ET.Element, share: Share) -> None:
    filesystem = _add(devices, "filesystem", type="mount", accessmode="passthrough")
    _add(filesystem, "driver", type="virtiofs", queue="1024")
    _add(filesystem, "source", dir=str(share.directory))
    _add(filesystem, "target", dir=share.tag)
    _pci(filesystem, _SHARE)


def _kernel_vsock(devices: ET.Element, vsock: Vsock) -> None:
    element = _add(devices, "vsock", model="virtio")
    _add(element, "cid", auto="no", address=str(vsock.cid))
    _pci(element, _VSOCK)


def _vhost_user_vsock(domain: ET.Element, socket: str) -> None:
    """Libvirt has no element for it. A comma in a path is doubled (QEMU's option syntax)."""
    arguments = (
        "-chardev", f"socket,id=vsock,path={socket.replace(',', ',,')}",
        "-device", f"vhost-user-vsock-pci,chardev=vsock,bus=pcie.0,addr={_VHOST_USER_VSOCK}",
    )  # fmt: skip
    command_line = _add(domain, f"{{{_QEMU}}}commandline")
    for argument in arguments:
        _add(command_line, f"{{{_QEMU}}}arg", value=argument)


def _security(domain: ET.Element, spec: MachineSpec, models: Collection[str]) -> None:
    """Who may open what.

    The files of a machine belong to their owners: libvirt shall not give shared, read-only images to QEMU's user
    (`dac`), as one that breaks out of its guest could then write them. QEMU still runs as that user. The other
    drivers know nothing of devices on QEMU's command line.
    """
    for model in models:
        if model == "dac" or (spec.vsock.socket is not None and model != "none"):
            _add(domain, "seclabel", type="none", model=model)


def _pci(device: ET.Element, slot: int) -> None:
    _add(device, "address", type="pci", domain="0x0000", bus="0x00", slot=f"0x{slot:02x}", function="0x0")


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _attribute(element: ET.Element, child: str, name: str) -> str:
    found = element.find(child)
    return "" if found is None else found.get(name, "")


def _text(element: ET.Element) -> str:
    ET.indent(element)
    return ET.tostring(element, encoding="unicode") + "\n"
