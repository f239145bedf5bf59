"""Probing with real machines: one that answers, one that never does, one that dies."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from tests.support.libvirt import Workshop, embedded_uri, workshop
from vmsandbox.hypervisor import Accelerator, GuestImage
from vmsandbox.hypervisor.libvirt.hypervisor import LibvirtHypervisor
from vmsandbox.node.accelerators.attempts import Attempt
from vmsandbox.node.accelerators.probe import Prober


@pytest.fixture(scope="module")
def shop() -> Iterator[Workshop]:
    with workshop() as made:
        yield made


@pytest.fixture
async def hypervisor() -> AsyncIterator[LibvirtHypervisor]:
    async with LibvirtHypervisor.open(embedded_uri()) as hypervisor:
        yield hypervisor
        assert await hypervisor.list_names() == ()


async def try_tcg(
    hypervisor: LibvirtHypervisor, shop: Workshop, image: GuestImage, deadline: float, kvm_deadline: float = 1
) -> Attempt:
    """Boot the image under TCG. KVM is tried as well, with any result."""
    deadlines = {Accelerator.KVM: kvm_deadline, Accelerator.TCG: deadline}
    state = shop.directory / "state"
    prober = Prober(hypervisor, shop.transports, image, shop.directory, state, users=shop.users, deadlines=deadlines)
    kvm, tcg = await prober.try_all()
    assert kvm.works or kvm.why_not
    assert not (shop.directory / "probe").exists()
    return tcg


async def test_a_guest_runs_under_tcg_everywhere(hypervisor: LibvirtHypervisor, shop: Workshop) -> None:
    tcg = await try_tcg(hypervisor, shop, shop.image, deadline=120, kvm_deadline=20)
    assert tcg.works, tcg.report
    assert 0 < tcg.seconds < 120
    state = shop.directory / "state"
    remembered = Prober(hypervisor, shop.transports, shop.image, shop.directory, state, users=shop.users)
    begin = time.monotonic()
    assert await remembered.choose("auto") in Accelerator
    assert time.monotonic() - begin < 1


async def test_a_guest_that_never_answers_is_given_up_with_its_console(
    hypervisor: LibvirtHypervisor, shop: Workshop
) -> None:
    idle = replace(shop.image, command_line=f"{shop.image.command_line} loglevel=7 rdinit=/bin/busybox -- sleep 1000")
    begin = time.monotonic()
    tcg = await try_tcg(hypervisor, shop, idle, deadline=10)
    assert time.monotonic() - begin < 30
    assert not tcg.works and "did not answer within 10 s" in tcg.why_not
    assert "Run /bin/busybox as init process" in tcg.report


async def test_a_guest_that_panics_is_given_up_at_once_with_its_console(
    hypervisor: LibvirtHypervisor, shop: Workshop
) -> None:
    no_root = shop.directory / "no-root.img"
    no_root.write_bytes(bytes(1024 * 1024))
    tcg = await try_tcg(hypervisor, shop, replace(shop.image, root=no_root), deadline=100)
    assert not tcg.works and tcg.seconds < 60
    assert tcg.why_not == "the virtual machine ended: crashed (panicked)"
    assert "vmsandbox-init: cannot mount" in tcg.report
