"""Guests that were taken over, each in its own way: their neighbours do not notice, and they can be removed."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.fakes.host import FakeWorld, app, pod
from tests.fakes.hostile_agent import MISBEHAVIOURS, HybridAgent, misbehave
from tests.fakes.processes import FakeProcess
from tests.fakes.transport import UnixTransport
from tests.unit.guest.test_session import hang
from vmsandbox.errors import VmsandboxError
from vmsandbox.guest.session import Session
from vmsandbox.guest.transport.vhost_device import connect_hybrid
from vmsandbox.model import ContainerState, SandboxState
from vmsandbox.protocol.messages import Containers, ListContainers
from vmsandbox.sandbox.lifecycle import ending
from vmsandbox.sandbox.machines import machine


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_END_DEADLINE", 0.3)
    monkeypatch.setattr(machine, "_SHUTDOWN_DEADLINE", 0.1)


async def hello(process: FakeProcess) -> int:
    await process.write(b"hello")
    return 0


@pytest.mark.parametrize("name", MISBEHAVIOURS)
async def test_a_hostile_guest_harms_no_other_and_can_be_removed(name: str, world: FakeWorld) -> None:
    async with world.daemon() as service:
        quiet, hostile = [await service.run_pod_sandbox(pod(each)) for each in ("quiet", "hostile")]
        world.transports.agents[quiet].programs["hello",] = hello
        kept, attacker = [await service.create_container(each, app()) for each in (quiet, hostile)]
        await service.start_container(kept)
        agent = misbehave(world.transports.agents[hostile], name)
        await agent.hang_up()
        starting = asyncio.create_task(service.start_container(attacker))
        for _ in range(5):
            assert (await service.exec_sync(kept, ("hello",), 120)).stdout == b"hello"
        await service.stop_pod_sandbox(hostile)
        assert service.pod_sandbox_status(hostile).state is SandboxState.NOTREADY
        with contextlib.suppress(VmsandboxError):
            await starting
        await service.remove_pod_sandbox(hostile)
        assert [each.id for each in service.list_pod_sandboxes()] == [quiet]
        assert service.container_status(kept).state is ContainerState.RUNNING
        await service.remove_pod_sandbox(quiet)
    assert world.left() == []


class HybridTransport(UnixTransport):
    async def dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await connect_hybrid(self._directory / "vsock.sock", port)


async def test_an_agent_behind_a_hybrid_vsock_socket_is_one_as_any(tmp_path: Path) -> None:
    async with HybridAgent(tmp_path / "vsock.sock"), Session(HybridTransport(tmp_path), "pod", hang) as session:
        await session.connect(10)
        assert await session.request(ListContainers(), 10) == Containers()
