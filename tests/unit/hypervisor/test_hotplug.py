"""The sizes that a running domain can have, read from libvirt's XML."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from tests.unit.hypervisor.test_domain import EMULATED, GROWS, MIB
from vmsandbox.hypervisor.xml.domain import domain_xml
from vmsandbox.hypervisor.xml.hotplug import HotPlug, requested_xml
from vmsandbox.model import MachineSize

BOOTED, MOST = MachineSize(1, 256 * MIB), MachineSize(4, 2048 * MIB)


def running() -> str:
    """Return a domain in libvirt's own words: `memory` is all of it."""
    domain = ET.fromstring(domain_xml(replace(GROWS, size=BOOTED, most=MOST)))
    memory = domain.find("memory")
    assert memory is not None
    memory.text = str(MOST.memory // 1024)
    return ET.tostring(domain, encoding="unicode")


def test_a_domain_says_what_it_booted_with_and_what_it_may_have() -> None:
    assert HotPlug.of(running()) == HotPlug(BOOTED.memory, MOST.memory)


def test_a_domain_that_does_not_grow_has_its_size() -> None:
    assert HotPlug.of(domain_xml(EMULATED)) == HotPlug(EMULATED.size.memory, EMULATED.size.memory)
    with pytest.raises(LookupError, match="virtio-mem"):
        requested_xml(domain_xml(EMULATED), MIB)


def test_memory_is_requested_of_the_device_as_it_is() -> None:
    device = ET.fromstring(requested_xml(running(), 512 * MIB))
    assert (device.get("model"), device.findtext("target/size")) == ("virtio-mem", str(1792 * 1024))
    assert device.findtext("target/requested") == str(512 * 1024)
    assert device.find("address") is not None


def test_a_domain_that_does_not_grow_carries_nothing_for_it() -> None:
    root = ET.fromstring(domain_xml(EMULATED))
    assert root.find("maxMemory") is root.find("cpu/numa") is root.find("devices/memory") is None
    assert "maxcpus" not in root.findtext("os/cmdline", "")


def test_a_domain_has_all_vcpus_and_its_kernel_starts_those_that_it_boots_with() -> None:
    root = ET.fromstring(running())
    assert root.findtext("vcpu") == "4" and "maxcpus=1" in root.findtext("os/cmdline", "").split()
