"""Domain XML (libvirt.org/formatdomain.html) from a `MachineSpec`: pure functions.

Every PCI device has its address on the root bus, because each root port that libvirt would otherwise add costs boot
time and a device of the guest; disks come and go on the SCSI controller, which needs none (`disks`).
"""

import math
from collections.abc import Collection
from pathlib import Path
from xml.etree import ElementTree as ET

from vmsandbox.hypervisor.sizes import TCG_CACHE
from vmsandbox.hypervisor.specification import Accelerator, Disk, MachineSpec
from vmsandbox.hypervisor.xml.capabilities import Capabilities
from vmsandbox.hypervisor.xml.claims import PORTS, kernel_vsock, network_interface, shared_directory
from vmsandbox.hypervisor.xml.cpu import add_cpu, kernel_parameters
from vmsandbox.hypervisor.xml.disks import disk_element
from vmsandbox.hypervisor.xml.elements import add, document, pci
from vmsandbox.hypervisor.xml.hotplug import memory_device, pluggable_memory
from vmsandbox.protocol.paths import UNCLAIMED
from vmsandbox.protocol.secret import PORT_NAME

ROOT_SERIAL = "vmsandbox-root"
"""The serial of the disk with the guest's root file system."""
METADATA = "urn:vmsandbox:machine:1"
"""Namespace of the element that marks a domain as ours."""

_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
_SERIAL_PORTS = "2"
"""The console's and that of the secret. Each of the usual 31 has two queues in the guest, used or not."""
_ENTROPY = 64 * 1024
"""Bytes of the host's randomness that a guest gets in a second: its kernel needs some hundred for its whole life."""

_SCSI, _CONSOLE, _NETWORK, _RNG, _BALLOON, _SHARE, _VSOCK, _MEMORY = range(2, 10)
"""Slots on the root bus. 0 and 0x1f are the chipset's."""
_FIRST_PORT = 0x0F
_VHOST_USER_VSOCK = "0x1e"
_USUAL = Capabilities()

for _prefix, _uri in (("qemu", _QEMU), ("vmsandbox", METADATA)):
    ET.register_namespace(_prefix, _uri)


def domain_xml(
    spec: MachineSpec,
    capabilities: Capabilities = _USUAL,
    emulator: Path | None = None,
    *,
    restored: bool = False,
) -> str:
    """The domain of a machine.

    Args:
        spec: what the machine has.
        capabilities: of the libvirt that shall have it.
        emulator: the program that libvirt starts; None: its QEMU.
        restored: its QEMU waits for the saved state that it goes on from.
    """
    domain = ET.Element("domain", type="kvm" if spec.accelerator is Accelerator.KVM else "qemu")
    _identity(domain, spec)
    _memory_and_cpu(domain, spec, capabilities)
    _boot(domain, spec, kernel_parameters(spec.accelerator, capabilities))
    _chipset(domain, spec.accelerator)
    devices = add(domain, "devices")
    if emulator is not None:
        add(devices, "emulator", str(emulator))
    _devices(devices, spec)
    _security(domain, spec, capabilities.security_models)
    if spec.vsock is not None and spec.vsock.socket is not None:
        _vhost_user_vsock(domain, str(spec.vsock.socket))
    if restored:
        _arguments(domain, "-incoming", "defer")
    _capabilities(domain)
    return document(domain)


def _identity(domain: ET.Element, spec: MachineSpec) -> None:
    add(domain, "name", spec.name)
    add(domain, "uuid", spec.uuid)
    if spec.title:
        add(domain, "title", "".join(filter(str.isprintable, spec.title)))  # no control character is XML
    add(add(domain, "metadata"), f"{{{METADATA}}}machine", build=spec.image.build)
    if spec.vsock is None:  # tells the kernel of a restored machine that it is another one (vmgenid)
        add(domain, "genid", spec.uuid)


def _memory_and_cpu(domain: ET.Element, spec: MachineSpec, capabilities: Capabilities) -> None:
    booted = math.ceil(spec.size.memory / 1024)
    if plugged := pluggable_memory(spec):
        add(domain, "maxMemory", str(booted + plugged // 1024), unit="KiB", slots="1")
    add(domain, "memory", str(booted), unit="KiB", dumpCore="off")
    backing = add(domain, "memoryBacking")  # shared with virtiofsd and vhost-user devices
    add(backing, "source", type="memfd")
    add(backing, "access", mode="shared")
    add(domain, "vcpu", str(spec.most.vcpus), placement="static")
    cpu = add_cpu(domain, spec.accelerator, capabilities)
    if plugged:  # libvirt plugs memory into NUMA nodes alone
        cell = {"id": "0", "cpus": f"0-{spec.most.vcpus - 1}", "memory": str(booted), "unit": "KiB"}
        add(add(cpu, "numa"), "cell", **cell, memAccess="shared")


def _boot(domain: ET.Element, spec: MachineSpec, for_cpu: str) -> None:
    boot = add(domain, "os")
    add(boot, "type", "hvm", arch="x86_64", machine="q35")
    add(boot, "kernel", str(spec.image.kernel))
    add(boot, "initrd", str(spec.image.initramfs))
    started = f"maxcpus={spec.size.vcpus}" if spec.size.vcpus < spec.most.vcpus else ""  # the agent starts the others
    nobodys = UNCLAIMED if spec.vsock is None else ""
    parameters = (for_cpu, spec.image.command_line, started, nobodys, spec.kernel_parameters)
    add(boot, "cmdline", " ".join(filter(None, parameters)))


def _chipset(domain: ET.Element, accelerator: Accelerator) -> None:
    features = add(domain, "features")
    add(features, "acpi")  # through which the guest finds pvpanic, and is powered off
    add(features, "vmport", state="off")
    if accelerator is Accelerator.TCG:
        add(add(features, "tcg"), "tb-cache", str(TCG_CACHE // (1024 * 1024)), unit="MiB")
    clock = add(domain, "clock", offset="utc")
    add(clock, "timer", name="hpet", present="no")
    for event, action in (("poweroff", "destroy"), ("reboot", "destroy"), ("crash", "destroy")):
        add(domain, f"on_{event}", action)
    power = add(domain, "pm")
    add(power, "suspend-to-mem", enabled="no")
    add(power, "suspend-to-disk", enabled="no")


def _devices(devices: ET.Element, spec: MachineSpec) -> None:
    devices.append(disk_element(Disk(ROOT_SERIAL, spec.image.root), 0))
    if spec.scratch is not None:
        devices.append(disk_element(spec.scratch, 1))
    scsi = add(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    add(scsi, "driver", queues="1")  # one thread of QEMU serves them all, and each takes memory of the guest
    pci(scsi, _SCSI)
    pci(add(devices, "controller", type="virtio-serial", index="0", ports=_SERIAL_PORTS), _CONSOLE)
    add(devices, "controller", type="usb", model="none")
    _console(devices, str(spec.console))
    if spec.secret is not None:
        _port(devices, str(spec.secret), PORT_NAME)
    if spec.network is not None:
        pci(network_interface(devices, spec.network), _NETWORK)
    if spec.share is not None:
        pci(shared_directory(devices, spec.share), _SHARE)
    if spec.vsock is None or spec.network_place:
        _ports(devices)
    if spec.vsock is not None and spec.vsock.socket is None:
        pci(kernel_vsock(devices, spec.vsock), _VSOCK)
    rng = add(devices, "rng", model="virtio")
    add(rng, "rate", bytes=str(_ENTROPY), period="1000")
    add(rng, "backend", "/dev/urandom", model="random")
    pci(rng, _RNG)
    pci(add(devices, "memballoon", model="virtio", freePageReporting="on"), _BALLOON)
    add(devices, "panic", model="isa")
    if plugged := pluggable_memory(spec):
        memory = memory_device(plugged)
        devices.append(memory)
        pci(memory, _MEMORY)


def _console(devices: ET.Element, path: str) -> None:
    console = add(devices, "console", type="unix")
    add(console, "source", mode="bind", path=path)
    add(console, "target", type="virtio", port="0")


def _port(devices: ET.Element, path: str, name: str) -> None:
    """A virtio-serial port, beside the console's on the same controller."""
    channel = add(devices, "channel", type="unix")
    add(channel, "source", mode="bind", path=path)
    add(channel, "target", type="virtio", name=name)


def _ports(devices: ET.Element) -> None:
    """Empty places, since devices of a running machine cannot be plugged into the root bus."""
    for port in PORTS:
        controller = add(devices, "controller", type="pci", model="pcie-root-port", index=str(port))
        pci(controller, _FIRST_PORT + port)


def _vhost_user_vsock(domain: ET.Element, socket: str) -> None:
    """Libvirt has no element for it. A comma in a path is doubled (QEMU's option syntax)."""
    _arguments(
        domain,
        "-chardev", f"socket,id=vsock,path={socket.replace(',', ',,')}",
        "-device", f"vhost-user-vsock-pci,chardev=vsock,bus=pcie.0,addr={_VHOST_USER_VSOCK}",
    )  # fmt: skip


def _arguments(domain: ET.Element, *arguments: str) -> None:
    command_line = add(domain, f"{{{_QEMU}}}commandline")
    for argument in arguments:
        add(command_line, f"{{{_QEMU}}}arg", value=argument)


def _capabilities(domain: ET.Element) -> None:
    """Have libvirt ask QEMU for the CPU's features as it did of old, in two questions instead of four hundred.

    It would go through every property of the first CPU, a question each, to complete a description that nobody reads:
    that of a CPU which has all the host or the emulator can give.
    """
    capabilities = add(domain, f"{{{_QEMU}}}capabilities")
    add(capabilities, f"{{{_QEMU}}}del", capability="cpu-unavailable-features")


def _security(domain: ET.Element, spec: MachineSpec, models: Collection[str]) -> None:
    """Build the elements that set the user of QEMU and the labels.

    QEMU runs as the machine's own user (`dac`). The files of a machine keep their owners: libvirt shall not give
    shared, read-only images to that user, as a QEMU that its guest has taken over could then write them. The other
    drivers know nothing of devices on QEMU's command line, or plugged in by its monitor.
    """
    for model in models:
        if model == "dac":
            label = add(domain, "seclabel", type="static", model=model, relabel="no")
            add(label, "label", f"+{spec.account.uid}:+{spec.account.gid}")
        elif (spec.vsock is None or spec.vsock.socket is not None) and model != "none":
            add(domain, "seclabel", type="none", model=model)
