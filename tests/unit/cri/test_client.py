"""The client of our own command line, against the server over a real socket."""

import asyncio
from contextlib import AsyncExitStack, aclosing

import pytest

from tests.support.cri import IMAGE, served
from tests.support.waiting import until
from vmsandbox.cri.client import connected
from vmsandbox.errors import NotFound, Unavailable, Unimplemented
from vmsandbox.model import (
    AttachRequest,
    ContainerConfig,
    ContainerEventKind,
    ContainerMetadata,
    ContainerState,
    ExecRequest,
    Image,
    Mount,
    PodSandboxConfig,
    PodSandboxMetadata,
    PortForwardRequest,
    RegistryAuth,
    Resources,
    SandboxState,
)

POD = PodSandboxConfig(PodSandboxMetadata("web", "uid", "shop"), labels={"app": "web"}, runtime_handler="small")
CONTAINER = ContainerConfig(ContainerMetadata("main"), IMAGE.id, command=("run",), labels={"a": "b"})


@pytest.fixture
async def cri(tmp_path):
    async with served(tmp_path) as it:
        it.images.held[IMAGE.id] = IMAGE
        yield it


async def test_a_pod_lives_as_with_the_service_itself(cri):
    client = cri.client
    sandbox_id = await client.run_pod_sandbox(POD)
    assert cri.runtime.sandboxes[sandbox_id].config == POD
    container_id = await client.create_container(sandbox_id, CONTAINER)
    assert cri.runtime.containers[container_id].config == CONTAINER
    await client.start_container(container_id)
    (sandbox,) = await client.list_pod_sandboxes()
    assert (sandbox.id, sandbox.state, sandbox.config) == (sandbox_id, SandboxState.READY, POD)
    (container,) = await client.list_containers()
    assert (container.id, container.sandbox_id, container.state) == (container_id, sandbox_id, ContainerState.RUNNING)
    assert (await client.pod_sandbox_status(sandbox_id)).ips == ("10.1.2.3", "fd00::3")
    result = await client.exec_sync(container_id, ("echo", "x"), 0)
    assert (result.stdout, result.exit_code) == (b"echo x", 3)
    await client.update_container_resources(container_id, Resources(memory_limit=77))
    await client.reopen_container_log(container_id)
    await client.stop_container(container_id, 2)
    status = await client.container_status(container_id)
    assert (status.state, status.exit_code, status.sandbox_id) == (ContainerState.EXITED, 137, sandbox_id)
    assert status.config.resources.memory_limit == 77
    await client.remove_container(container_id)
    await client.stop_pod_sandbox(sandbox_id)
    assert (await client.pod_sandbox_status(sandbox_id)).state is SandboxState.NOTREADY
    await client.remove_pod_sandbox(sandbox_id)
    assert await client.list_pod_sandboxes() == ()
    assert await client.list_containers() == ()


async def test_a_container_is_waited_for(cri):
    container_id = await cri.client.create_container(await cri.client.run_pod_sandbox(POD), CONTAINER)
    await cri.client.start_container(container_id)
    waiting = asyncio.create_task(cri.client.wait_container(container_id))
    async with asyncio.timeout(5):
        await until(lambda: cri.runtime.listeners)
        cri.runtime.end(container_id, 9)
        status = await waiting
    assert (status.exit_code, status.reason) == (9, "Error")
    assert (await cri.client.wait_container(container_id)).exit_code == 9


async def test_waiting_for_an_unknown_container_is_an_error(cri):
    with pytest.raises(NotFound):
        await cri.client.wait_container("nobody")


async def test_events_are_followed(cri):
    async with aclosing(cri.client.events()) as events:
        first = asyncio.ensure_future(anext(events))
        await until(lambda: cri.runtime.listeners, 5)
        sandbox_id = await cri.client.run_pod_sandbox(POD)
        event = await first
    assert (event.container_id, event.sandbox_id, event.kind) == (sandbox_id, sandbox_id, ContainerEventKind.STARTED)


async def test_events_of_a_daemon_that_ends_are_an_error(tmp_path):
    async with AsyncExitStack() as stack:
        async with served(tmp_path, grace=60) as cri:
            client = await stack.enter_async_context(connected(cri.path))
            listening = asyncio.ensure_future(anext(client.events()))
            await until(lambda: cri.runtime.listeners, 5)
            ended = asyncio.timeout(30)
            await stack.enter_async_context(ended)
        with pytest.raises(Unavailable, match="the daemon ends"):
            await listening


async def test_inspection_shows_everything_as_one_document(cri):
    sandbox_id = await cri.client.run_pod_sandbox(POD)
    container_id = await cri.client.create_container(sandbox_id, CONTAINER)
    pod = await cri.client.inspect_pod_sandbox(sandbox_id)
    assert pod["status"]["metadata"] == {"name": "web", "uid": "uid", "namespace": "shop", "attempt": 0}
    assert pod["status"]["state"] == "READY"
    assert pod["status"]["createdAt"] == "2023-11-14T22:13:20.000000000Z"
    assert pod["info"]["info"]["config"]["labels"] == {"app": "web"}
    container = await cri.client.inspect_container(container_id)
    assert (container["status"]["state"], container["status"]["startedAt"]) == ("CREATED", None)
    assert container["info"]["info"]["config"]["command"] == ["run"]
    assert container["info"]["info"]["config"]["linux"]["securityContext"]["namespaceOptions"]["network"] == "POD"
    status = await cri.client.status()
    assert status["runtimeHandlers"][1]["name"] == "small"
    assert "state_directory" in status["info"]["config"]


async def test_images_have_the_calls_of_the_store(cri):
    images = cri.client.images
    new = Image("sha256:new", ("registry.example/new:1",), size=3)
    cri.images.in_registries["registry.example/new:1"] = new
    auth = RegistryAuth(username="u", password="p", identity_token="t", registry_token="r", auth="YTpi")
    assert await images.pull("registry.example/new:1", auth) == new
    assert cri.images.auths == [auth]
    assert {image.id for image in await images.list()} == {IMAGE.id, new.id}
    await images.remove(new.id)
    assert await images.find(new.id) is None
    with pytest.raises(NotFound, match="there is no such image") as caught:
        await images.pull("registry.example/none:1")
    assert caught.value.hint == "look at its name"


async def test_streams_are_asked_for(cri):
    container_id = await cri.client.create_container(await cri.client.run_pod_sandbox(POD), CONTAINER)
    await cri.client.start_container(container_id)
    for call in (
        cri.client.exec_url(ExecRequest(container_id, ("sh",), stdout=True)),
        cri.client.attach_url(AttachRequest(container_id, stdout=True)),
        cri.client.port_forward_url(PortForwardRequest(cri.runtime.containers[container_id].sandbox_id, (80,))),
    ):
        with pytest.raises(Unimplemented, match="without streaming"):
            await call


async def test_a_volume_in_the_guests_memory_cannot_be_said(cri):
    sandbox_id = await cri.client.run_pod_sandbox(POD)
    config = ContainerConfig(ContainerMetadata("main"), IMAGE.id, mounts=(Mount("/cache", tmpfs="cache"),))
    with pytest.raises(Unimplemented, match="/cache"):
        await cri.client.create_container(sandbox_id, config)


async def test_cancelling_a_call_cancels_it_in_the_daemon(cri):
    cri.runtime.hang.add("run_pod_sandbox")
    call = asyncio.create_task(cri.client.run_pod_sandbox(POD))
    await cri.runtime.begun.wait()
    call.cancel()
    async with asyncio.timeout(5):
        await cri.runtime.cancelled.wait()


async def test_where_no_daemon_serves_the_error_says_how_to_start_one(tmp_path):
    with pytest.raises(Unavailable, match="no daemon serves") as caught:
        async with connected(tmp_path / "none.sock"):
            pytest.fail("there is nobody to connect to")
    assert "vmsandbox serve" in caught.value.hint
