"""Guests that say what no client of the CRI can be told: clients hear of the other pods as before."""

import grpc
import pytest
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from tests.fakes.host import FakeWorld, app, pod
from tests.fakes.hostile_agent import HUGE, misbehave
from tests.support.waiting import until
from tests.unit.sandbox.lifecycle.test_recovery import daemon
from vmsandbox.cri.server import NodeInfo, serving
from vmsandbox.errors import Unavailable
from vmsandbox.protocol.messages import Created, ProcessUser
from vmsandbox.sandbox.lifecycle import sandbox
from vmsandbox.sandbox.machines import machine


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_END_DEADLINE", 0.3)
    monkeypatch.setattr(machine, "_SHUTDOWN_DEADLINE", 0.1)


async def test_numbers_beyond_all_bounds_end_nobodys_events_and_spoil_no_status(world: FakeWorld) -> None:
    async def ready() -> None:
        pass

    path = world.directory / "cri.sock"
    async with (
        daemon(world) as service,
        serving(service, path, NodeInfo(("",), ready, world.directory / "lib"), grace=0),
        grpc.aio.insecure_channel(f"unix:{path}") as channel,
    ):
        stub = api_pb2_grpc.RuntimeServiceStub(channel)
        quiet, hostile = [await service.run_pod_sandbox(pod(each)) for each in ("quiet", "hostile")]
        victim = await service.create_container(hostile, app("victim"))
        call = stub.GetContainerEvents(api.GetEventsRequest())
        await call.initial_metadata()
        agent = world.transports.agents[hostile]
        agent.answers["create_container"] = lambda _: Created(ProcessUser(HUGE, -HUGE, (HUGE,)))
        with pytest.raises(Unavailable, match="malformed answer"):
            await service.create_container(hostile, app("attacker"))
        misbehave(agent, "gives huge numbers")
        dialled = len(agent.hellos)
        await agent.hang_up()
        await until(lambda: len(agent.hellos) > dialled + 1)
        kept = await service.create_container(quiet, app("kept"))
        while (event := await call.read()).container_id != kept:
            pass
        assert event.container_event_type == api.CONTAINER_CREATED_EVENT
        for sandbox_id, containers in ((quiet, [kept]), (hostile, [victim])):
            status = await stub.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id))
            assert [each.id for each in status.containers_statuses] == containers
        call.cancel()
        for sandbox_id in (quiet, hostile):
            await service.remove_pod_sandbox(sandbox_id)
    assert world.left() == []
