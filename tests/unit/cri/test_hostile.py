"""Guests that say what no client of the CRI can be told: clients hear of the other pods as before."""

import contextlib
import json
import sqlite3

import grpc
import pytest
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from tests.fakes.host import FakeWorld, app, pod
from tests.fakes.hostile_agent import HUGE, misbehave
from tests.support.waiting import until
from vmsandbox.cri.server import NodeInfo, serving
from vmsandbox.errors import Unavailable
from vmsandbox.protocol.messages import Created, ProcessUser
from vmsandbox.sandbox.lifecycle import ending
from vmsandbox.sandbox.machines import machine


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_END_DEADLINE", 0.3)
    monkeypatch.setattr(machine, "_SHUTDOWN_DEADLINE", 0.1)


async def test_numbers_beyond_all_bounds_end_nobodys_events_and_spoil_no_status(world: FakeWorld) -> None:
    async def ready() -> None:
        pass

    path = world.directory / "cri.sock"
    async with (
        world.daemon() as service,
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


def change_records(world: FakeWorld, kind: str, **changes: object) -> None:
    """Write nonsense into each record of a kind, as a newer version or a fault of the disk might."""
    with contextlib.closing(sqlite3.connect(world.directory / "state.db")) as database, database:
        for key, body in database.execute("SELECT id, body FROM record WHERE kind = ?", (kind,)).fetchall():
            changed = json.dumps({**json.loads(body), **changes})
            database.execute("UPDATE record SET body = ? WHERE kind = ? AND id = ?", (changed, kind, key))


async def test_a_record_that_makes_little_sense_spoils_no_status_and_no_event(world: FakeWorld) -> None:
    async def ready() -> None:
        pass

    async with world.daemon() as service:
        sandbox_id = await service.run_pod_sandbox(pod())
        container_id = await service.create_container(sandbox_id, app())
    ports = [{"container_port": 80, "host_port": 80, "protocol": "carrier-pigeon"}]
    mounts = [{"container_path": "/data", "image": "NO NAME"}, {"container_path": "/tmp", "tmpfs": "name"}]
    metadata = {"name": "web", "uid": "uid-web", "namespace": "default"}
    change_records(world, "sandbox", config={"metadata": metadata, "port_mappings": ports})
    config = {"metadata": {"name": "app"}, "image": "NO NAME", "mounts": mounts}
    change_records(world, "container", config=config, image_id="NO NAME")
    path = world.directory / "cri.sock"
    async with (
        world.daemon() as service,
        serving(service, path, NodeInfo(("",), ready, world.directory / "lib"), grace=0),
        grpc.aio.insecure_channel(f"unix:{path}") as channel,
    ):
        stub = api_pb2_grpc.RuntimeServiceStub(channel)
        call = stub.GetContainerEvents(api.GetEventsRequest())
        await call.initial_metadata()
        pods = await stub.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True))
        assert [each.id for each in pods.containers_statuses] == [container_id]
        assert "carrier-pigeon" in json.loads(pods.info["info"])["config"]
        told = await stub.ContainerStatus(api.ContainerStatusRequest(container_id=container_id, verbose=True))
        assert "the CRI has no volumes" in json.loads(told.info["info"])["config"]
        await stub.StopContainer(api.StopContainerRequest(container_id=container_id))
        event = await call.read()
        assert (event.container_id, event.container_event_type) == (container_id, api.CONTAINER_STOPPED_EVENT)
        call.cancel()
        await service.remove_pod_sandbox(sandbox_id)
    assert world.left() == []
