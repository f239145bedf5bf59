"""A network that is there after its machine: callers of an OCI runtime fill a namespace between create and start."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.host import MIB, FakeWorld, pod
from vmsandbox.errors import NotFound
from vmsandbox.model import NETWORK_ANNOTATION, NO_NETWORK, PodSandboxConfig
from vmsandbox.protocol.messages import ConfigureGuest
from vmsandbox.service import RuntimeService


@pytest.fixture
async def service(world: FakeWorld) -> AsyncIterator[RuntimeService]:
    async with world.daemon(memory_budget=2048 * MIB) as service:
        yield service


def late(name: str) -> PodSandboxConfig:
    return replace(pod(name), annotations={NETWORK_ANNOTATION: NO_NETWORK}, late_network=True)


def configured(world: FakeWorld, sandbox_id: str) -> list[ConfigureGuest]:
    return [each for each in world.transports.agents[sandbox_id].requests if isinstance(each, ConfigureGuest)]


async def test_a_machine_is_given_its_network_once(service: RuntimeService, world: FakeWorld, tmp_path: Path) -> None:
    sandbox_id = await service.run_pod_sandbox(late("one"))
    machine = world.hypervisor.machines[f"vmsandbox-{sandbox_id}"]
    assert machine.network is None and machine.network_place
    await service.join_network(sandbox_id, tmp_path)
    await service.join_network(sandbox_id, tmp_path)
    first, last = configured(world, sandbox_id)
    assert first.interfaces == () and [each.name for each in last.interfaces] == ["eth0"]
    assert world.network.connected and service.pod_sandbox_status(sandbox_id).ips == ("10.0.0.2",)
    await service.remove_pod_sandbox(sandbox_id)
    assert world.network.attached() == ()


async def test_a_pod_that_did_not_ask_for_it_is_left_alone(
    service: RuntimeService, world: FakeWorld, tmp_path: Path
) -> None:
    sandbox_id = await service.run_pod_sandbox(replace(late("one"), late_network=False))
    await service.join_network(sandbox_id, tmp_path)
    assert len(configured(world, sandbox_id)) == 1 and world.network.attached() == ()


async def test_a_namespace_that_is_gone_is_an_error(service: RuntimeService, tmp_path: Path) -> None:
    sandbox_id = await service.run_pod_sandbox(late("one"))
    with pytest.raises(NotFound, match="no namespace"):
        await service.join_network(sandbox_id, tmp_path / "gone")
