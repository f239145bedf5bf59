"""The same machines through a libvirtd, which is killed and started again while they run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.fakes.hypervisor_contract import next_event
from tests.support.libvirt import OwnLibvirtd, Workshop, kill_qemu, qemu_pid, qemu_runs, workshop
from vmsandbox.errors import Unavailable
from vmsandbox.hypervisor import Disk, MachineEvent, MachineSpec, MachineState
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.hypervisor import LibvirtHypervisor

_START_DEADLINE = 30


@pytest.fixture(scope="module")
def shop() -> Iterator[Workshop]:
    with workshop() as made:
        yield made


@pytest.fixture(scope="module")
def libvirtd(shop: Workshop) -> Iterator[OwnLibvirtd]:
    directory = shop.directory / "libvirtd"
    directory.mkdir()
    libvirtd = OwnLibvirtd(directory)
    try:
        libvirtd.start()
        yield libvirtd
    finally:
        libvirtd.stop()


@pytest.fixture
async def hypervisor(libvirtd: OwnLibvirtd) -> AsyncIterator[LibvirtHypervisor]:
    async with contextlib.AsyncExitStack() as stack:

        @retry(retry=retry_if_exception_type(Unavailable), wait=wait_fixed(0.1), stop=stop_after_delay(_START_DEADLINE))
        async def open_started() -> LibvirtHypervisor:
            return await stack.enter_async_context(LibvirtHypervisor.open(libvirtd.uri))

        hypervisor = await open_started()
        yield hypervisor
        for name in await hypervisor.list_names():
            await hypervisor.destroy(name)


@pytest.fixture
async def machine(hypervisor: LibvirtHypervisor, shop: Workshop) -> MachineSpec:
    spec = await shop.new_spec()
    await hypervisor.create(spec)
    return spec


async def test_a_machine_outlives_libvirtd(
    hypervisor: LibvirtHypervisor, machine: MachineSpec, libvirtd: OwnLibvirtd, shop: Workshop
) -> None:
    path = shop.directory / "disk.img"
    path.write_bytes(bytes(1024 * 1024))
    disk = Disk("disk", path)
    events = hypervisor.events()
    libvirtd.kill()
    await hypervisor.attach_disk(machine.name, disk)
    libvirtd.kill()
    await hypervisor.detach_disk(machine.name, disk.serial)
    assert await hypervisor.list_names() == (machine.name,)
    assert await hypervisor.state(machine.name) is MachineState.RUNNING
    kill_qemu(machine.name)
    assert await next_event(events, within=1) == MachineEvent(
        machine.name, MachineState.CRASHED, "failed (QEMU has died)"
    )


async def test_every_machine_of_libvirtd_has_a_user_of_its_own_too(
    hypervisor: LibvirtHypervisor, machine: MachineSpec, shop: Workshop
) -> None:
    other = await shop.new_spec()
    await hypervisor.create(other)
    users = [Path(f"/proc/{qemu_pid(spec.name)}").stat().st_uid for spec in (machine, other)]
    assert users == [machine.account.uid, other.account.uid] and users[0] != users[1]
    assert not hypervisor.apart, "its QEMUs are where it is itself: docs/security.md"


async def test_a_machine_is_measured_while_libvirtd_hangs(
    hypervisor: LibvirtHypervisor, machine: MachineSpec, libvirtd: OwnLibvirtd
) -> None:
    libvirtd.pause()
    try:
        async with asyncio.timeout(5):
            assert (await hypervisor.usage(machine.name)).memory > 0
    finally:
        libvirtd.kill()


async def test_the_end_of_a_machine_is_told_though_libvirtd_did_not_see_it(
    hypervisor: LibvirtHypervisor, machine: MachineSpec, libvirtd: OwnLibvirtd
) -> None:
    events = hypervisor.events()
    libvirtd.pause()
    kill_qemu(machine.name)
    libvirtd.kill()
    event = await next_event(events, within=30)
    assert event.name == machine.name
    assert event.state in (MachineState.GONE, MachineState.CRASHED)
    assert await hypervisor.state(machine.name) is MachineState.GONE


async def test_of_a_machine_that_was_being_created_when_libvirtd_died_nothing_is_left(
    hypervisor: LibvirtHypervisor, libvirtd: OwnLibvirtd, shop: Workshop
) -> None:
    spec = await shop.new_spec()
    creating = asyncio.create_task(hypervisor.create(spec))
    async with asyncio.timeout(_START_DEADLINE):
        while not qemu_runs(spec.name):
            await asyncio.sleep(0.01)
    libvirtd.kill()
    with pytest.raises(Unavailable):
        await creating
    assert await hypervisor.list_names() == ()
    assert await hypervisor.state(spec.name) is MachineState.GONE


async def test_domains_of_others_are_not_ours(
    hypervisor: LibvirtHypervisor, machine: MachineSpec, libvirtd: OwnLibvirtd
) -> None:
    foreign = """<domain type='qemu'><name>foreign</name><memory unit='MiB'>16</memory>
        <os><type machine='q35'>hvm</type></os></domain>"""
    connection = libvirt.open(libvirtd.uri.replace("qemu:", "qemu+unix:"))
    try:
        domain = connection.createXML(foreign)
        assert await hypervisor.list_names() == (machine.name,)
        domain.destroy()
    finally:
        connection.close()
