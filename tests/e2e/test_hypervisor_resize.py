"""A machine that is given more or less memory while it works: real QEMU, libvirt and guest, shared by all tests."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from tests.fakes.hypervisor_contract import MIB, ResizingContract
from tests.support.libvirt import Workshop, embedded_uri, workshop
from vmsandbox import aio
from vmsandbox.guest.session import Session
from vmsandbox.hypervisor import MachineSpec, end_of
from vmsandbox.hypervisor.libvirt.hypervisor import LibvirtHypervisor
from vmsandbox.model import MachineSize
from vmsandbox.protocol.messages import Event

BOOT_DEADLINE = 240
SMALL, LARGE = MachineSize(1, 256 * MIB), MachineSize(1, 1024 * MIB)


@pytest.fixture(scope="module")
def spec() -> Iterator[MachineSpec]:
    with workshop() as shop:
        spec = replace(asyncio.run(shop.new_spec()), size=SMALL, most=LARGE)
        try:
            asyncio.run(_boot(shop, spec))
            yield spec
        finally:
            asyncio.run(_destroy(spec))


async def _boot(shop: Workshop, spec: MachineSpec) -> None:
    async with LibvirtHypervisor.open(embedded_uri()) as hypervisor:
        await hypervisor.create(spec)
        async with (
            Session(shop.ways[spec.name], spec.name, _ignore) as session,
            end_of(hypervisor.events(), spec.name) as ended,
        ):
            await aio.unless(session.connect(BOOT_DEADLINE), ended)
            assert await hypervisor.resize(spec.name, 384 * MIB) == 384 * MIB, "as soon as it has booted"


async def _destroy(spec: MachineSpec) -> None:
    async with LibvirtHypervisor.open(embedded_uri()) as hypervisor:
        await hypervisor.destroy(spec.name)


async def _ignore(_: Event) -> None:
    return


@pytest.fixture
async def hypervisor() -> AsyncIterator[LibvirtHypervisor]:
    async with LibvirtHypervisor.open(embedded_uri()) as hypervisor:
        yield hypervisor


class TestLibvirtResizing(ResizingContract):
    @pytest.fixture
    def machine(self, spec: MachineSpec) -> MachineSpec:
        return spec
