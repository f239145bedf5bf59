"""Domain XML, whole, against golden files; and what is read from libvirt's."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.golden import assert_golden
from vmsandbox.errors import ResourceExhausted
from vmsandbox.hypervisor import Accelerator, Blocks, Disk, GuestImage, MachineSpec, NetworkDevice, SharedDirectory
from vmsandbox.hypervisor.xml.capabilities import Capabilities
from vmsandbox.hypervisor.xml.claims import network_xml, share_xml, vsock_xml
from vmsandbox.hypervisor.xml.disks import PluggedDisk, disk_xml, free_target, plugged_disks
from vmsandbox.hypervisor.xml.domain import domain_xml
from vmsandbox.model import MachineSize, Vsock
from vmsandbox.process import Account

GOLDEN = Path("tests/unit/golden/domain")
MIB = 1024 * 1024
IMAGE = GuestImage(
    Path("/image/vmlinux"), Path("/image/initramfs.img"), Path("/image/root.squashfs"), "console=hvc0 quiet", "b1d"
)
SANDBOX = Path("/run/vmsandbox/sandboxes/6cf0e3d4")

PROBE = MachineSpec(
    name="vmsandbox-probe",
    uuid="6cf0e3d4-6a55-4a9b-8ad0-3b5f8a1f2c01",
    title="",
    image=IMAGE,
    size=MachineSize(1, 256 * MIB),
    most=MachineSize(1, 256 * MIB),
    accelerator=Accelerator.KVM,
    account=Account(1900000042, 108),
    vsock=Vsock(42),
    console=SANDBOX / "console.sock",
    secret=SANDBOX / "secret.sock",
)
POD = replace(
    PROBE,
    name="vmsandbox-6cf0e3d4",
    title="default/web",
    size=MachineSize(2, 384 * MIB),
    most=MachineSize(2, 384 * MIB),
    scratch=Disk(
        "vmsandbox-scratch",
        Path("/var/lib/vmsandbox/sandboxes/6cf0e3d4/scratch.img"),
        readonly=False,
        bandwidth=200_000_000,
        iops=5000,
    ),
    share=SharedDirectory("vmsandbox", SANDBOX / "share", Path("/var/lib/vmsandbox/serve/virtiofsd")),
    network=NetworkDevice("vms0123456789", "0a:58:0a:00:00:05"),
)
EMULATED = replace(
    POD,
    accelerator=Accelerator.TCG,
    vsock=Vsock(42, SANDBOX / "vhost.sock"),
    network=NetworkDevice("vms0123456789", "0a:58:0a:00:00:05", 1400),
    kernel_parameters="loglevel=7",
    share=SharedDirectory("vmsandbox", SANDBOX / "share"),
)

GROWS = replace(EMULATED, size=MachineSize(1, 255 * MIB + 1), most=MachineSize(4, 2048 * MIB))


@pytest.mark.parametrize(
    ("name", "spec", "models"),
    [
        ("probe-kvm", PROBE, ("dac",)),
        ("pod-kvm", POD, ("apparmor", "dac")),
        ("pod-tcg-vhost-user", EMULATED, ("apparmor", "dac")),
        ("pod-session", EMULATED, ("none",)),
        ("pod-that-grows", GROWS, ("dac",)),
        ("pod-late-network", replace(EMULATED, network=None, network_place=True), ("dac",)),
        ("pod-unclaimed", GROWS.unclaimed, ("apparmor", "dac")),
    ],
)
def test_domain(name: str, spec: MachineSpec, models: tuple[str, ...]) -> None:
    assert_golden(GOLDEN / f"{name}.xml", domain_xml(spec, Capabilities(models)))


def test_a_restored_machine_differs_in_nothing_but_that_it_waits_for_its_state() -> None:
    booted, restored = (domain_xml(GROWS.unclaimed, restored=restored) for restored in (False, True))
    tree, waits = ET.fromstring(restored), "{http://libvirt.org/schemas/domain/qemu/1.0}"
    commands = tree.findall(f"{waits}commandline")
    assert [argument.get("value") for argument in tree.iter(f"{waits}arg")] == ["-incoming", "defer"]
    for command in commands:
        tree.remove(command)
    assert ET.canonicalize(ET.tostring(tree), strip_text=True) == ET.canonicalize(booted, strip_text=True)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("plugged-network", network_xml(EMULATED.network)),  # type: ignore[arg-type]
        ("plugged-share", share_xml(POD.share, SANDBOX / "share.sock")),  # type: ignore[arg-type]
        ("plugged-vsock", vsock_xml(Vsock(42))),
    ],
)
def test_the_devices_of_a_claim_have_ports_of_their_own(name: str, device: str) -> None:
    assert_golden(GOLDEN / f"{name}.xml", device)
    ports = ET.fromstring(domain_xml(GROWS.unclaimed)).findall("devices/controller[@model='pcie-root-port']")
    bus = ET.fromstring(device).find("address").get("bus")  # type: ignore[union-attr]
    assert int(bus or "", 16) in {int(port.get("index", "")) for port in ports}


@pytest.mark.parametrize(
    ("name", "disk"),
    [
        ("disk-image", Disk("0123456789abcdef0123456789abcdef", Path("/var/lib/vmsandbox/roots/image.sqfs"))),
        ("disk-writable", Disk("data", Path("/data.img"), readonly=False)),
        ("disk-block", Disk("block", SANDBOX / "devices/block", readonly=False, blocks=Blocks(512, 4096))),
        ("disk-block-read-only", Disk("block", SANDBOX / "devices/block", blocks=Blocks(4096, 4096))),
    ],
)
def test_disk(name: str, disk: Disk) -> None:
    assert_golden(GOLDEN / f"{name}.xml", disk_xml(disk, 27))


def test_no_two_devices_share_a_slot() -> None:
    for spec in (PROBE, POD, EMULATED, GROWS, GROWS.unclaimed, replace(POD, network_place=True)):
        slots = [address.get("slot") for address in ET.fromstring(domain_xml(spec)).iterfind(".//address[@type='pci']")]
        assert len(slots) == len(set(slots)) and len(slots) >= 4


def test_hostile_text_stays_text() -> None:
    spec = replace(
        EMULATED,
        title="</title><devices/>\n\x01\x0c evil & co",
        kernel_parameters="a='b' <c>",
        vsock=Vsock(42, Path("/run/a,server=on/vhost.sock")),
        share=SharedDirectory("tag", Path("/run/'\"><x/>")),
    )
    domain = ET.fromstring(domain_xml(spec, Capabilities(qemu_version=8_000_000)))
    assert domain.findtext("title") == "</title><devices/> evil & co"
    assert domain.findtext("os/cmdline") == "console=hvc0 quiet a='b' <c>"
    assert domain.find("devices/filesystem/source").attrib == {"dir": "/run/'\"><x/>"}  # type: ignore[union-attr]
    arguments = [element.get("value") for element in domain.iter("{http://libvirt.org/schemas/domain/qemu/1.0}arg")]
    assert "socket,id=vsock,path=/run/a,,server=on/vhost.sock" in arguments
    assert len(domain.findall("devices")) == 1


def test_memory_is_not_less_than_asked_for() -> None:
    memory = ET.fromstring(domain_xml(replace(PROBE, size=MachineSize(1, 1024 * 1000 + 1)))).findtext("memory")
    assert memory == "1001"


def test_plugged_disks_are_read_from_the_domain_they_were_written_to() -> None:
    domain = ET.fromstring(domain_xml(POD))
    devices = domain.find("devices")
    assert devices is not None
    devices.append(ET.fromstring(disk_xml(Disk("image", Path("/image")), 5)))
    for number, disk in enumerate(devices.iterfind("disk")):
        ET.SubElement(disk, "alias", name=f"scsi0-{number}")
    disks = plugged_disks(ET.tostring(domain, encoding="unicode"))
    assert disks == (
        PluggedDisk("vmsandbox-root", 0, "scsi0-0"),
        PluggedDisk("vmsandbox-scratch", 1, "scsi0-1"),
        PluggedDisk("image", 5, "scsi0-2"),
    )
    assert free_target(disks) == 2


def test_a_machine_has_at_most_256_disks() -> None:
    disks = [PluggedDisk(str(target), target, "") for target in range(256)]
    assert free_target(disks[:200] + disks[201:]) == 200
    with pytest.raises(ResourceExhausted, match="256 disks"):
        free_target(disks)


def test_every_target_has_a_name_of_its_own() -> None:
    names = [re.findall(r'dev="(\w+)"', disk_xml(Disk("x", Path("/x")), target))[0] for target in range(256)]
    assert len(set(names)) == 256
    assert (names[0], names[25], names[26], names[51], names[52], names[255]) == (
        "sda", "sdz", "sdaa", "sdaz", "sdba", "sdiv",
    )  # fmt: skip


def test_what_domains_depend_on_comes_from_libvirt() -> None:
    host = """<capabilities><host><secmodel><model>apparmor</model><doi>0</doi></secmodel>
        <secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+108</baselabel></secmodel>
        </host><guest/></capabilities>"""
    domains = """<domainCapabilities><path>/usr/bin/qemu-system-x86_64</path><cpu>
        <mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model>
        <feature policy='require' name='erms'/><feature policy='require' name='fsrs'/>
        <feature policy='disable' name='fzrm'/></mode></cpu></domainCapabilities>"""
    found = Capabilities.of(host, domains, 8_002_002)
    qemu = "/usr/bin/qemu-system-x86_64"
    assert found == Capabilities(("apparmor", "dac"), qemu, 8_002_002, ("erms", "fsrm", "fsrs"))
    nothing = Capabilities.of("<capabilities><host/></capabilities>", "<domainCapabilities/>", 0)
    assert nothing == Capabilities(())


def test_an_emulated_cpu_announces_no_quick_string_instructions() -> None:
    capabilities = Capabilities(string_features=("erms", "fsrm", "fsrs"))
    emulated, real = (ET.fromstring(domain_xml(spec, capabilities)) for spec in (EMULATED, POD))
    disabled = {feature.get("name") for feature in emulated.iterfind("cpu/feature[@policy='disable']")}
    assert disabled == {"erms", "fsrm", "fsrs"}
    assert real.find("cpu/feature") is None


@pytest.mark.parametrize(
    ("spec", "qemu", "told"),
    [(EMULATED, 7_002_022, True), (EMULATED, 8_000_000, False), (POD, 7_002_022, False)],
)
def test_a_kernel_leaves_an_instruction_alone_that_an_older_qemu_emulates_wrongly(
    spec: MachineSpec, qemu: int, told: bool
) -> None:
    line = ET.fromstring(domain_xml(spec, Capabilities(qemu_version=qemu))).findtext("os/cmdline", "")
    assert ("clearcpuid=cx16" in line.split()) == told
