"""Sandboxes that wait for the memory of others, or for their turn to boot."""

import asyncio

import pytest

from tests.fakes.host import MIB, pod
from tests.support.waiting import until
from vmsandbox.errors import (
    InvalidArgument,
    ResourceExhausted,
)
from vmsandbox.model import (
    Resources,
    SandboxState,
)
from vmsandbox.service import RuntimeService


async def test_a_pod_of_negative_memory_makes_no_room_for_others(world, state):
    async with RuntimeService(world.host(state, memory_budget=165 * MIB)).running() as service:
        for memory in (-64 * MIB, -(2**63), 2**63 - 1):
            with pytest.raises(InvalidArgument, match=f"memory_limit_in_bytes {memory} is not valid"):
                await service.run_pod_sandbox(pod(resources=Resources(memory_limit=memory)))
        with pytest.raises(ResourceExhausted, match="may take 165 MiB"):
            await service.run_pod_sandbox(pod(resources=Resources(memory_limit=69 * MIB)))
    assert world.left() == []


async def test_a_machine_larger_than_the_budget_is_refused_at_once(world, state):
    async with RuntimeService(world.host(state, memory_budget=160 * MIB)).running() as service:
        with pytest.raises(
            ResourceExhausted, match=r"takes 161 MiB of the host, .* all machines together may take 160"
        ):
            await service.run_pod_sandbox(pod())


async def test_a_sandbox_waits_until_the_memory_of_another_is_given_back(world, state):
    async with RuntimeService(world.host(state, memory_budget=165 * MIB)).running() as service:
        first = await service.run_pod_sandbox(pod("first"))
        second = asyncio.create_task(service.run_pod_sandbox(pod("second")))
        await until(lambda: len(service.list_pod_sandboxes()) == 2)
        assert len(world.hypervisor.machines) == 1
        await service.stop_pod_sandbox(first)
        assert service.pod_sandbox_status(await second).state is SandboxState.READY


async def test_sandboxes_boot_a_few_at_a_time_and_none_fails(world, state):
    booting, most = 0, 0
    create = world.hypervisor.create

    async def slow(spec, before) -> None:
        nonlocal booting, most
        booting += 1
        most = max(most, booting)
        await asyncio.sleep(0.01)
        await create(spec, before)
        booting -= 1

    world.hypervisor.create = slow  # type: ignore[method-assign]
    host = world.host(state, memory_budget=10_000 * MIB, boots_in_parallel=3)
    async with RuntimeService(host).running() as service:
        ids = await asyncio.gather(*(service.run_pod_sandbox(pod(f"pod-{number}")) for number in range(20)))
        assert (len(set(ids)), most) == (20, 3)
        addresses = {status.ips for status in service.list_pod_sandboxes()}
        assert len(addresses) == 20
        await asyncio.gather(*(service.remove_pod_sandbox(each) for each in ids))
    assert world.left() == []
