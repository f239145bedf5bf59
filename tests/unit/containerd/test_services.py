"""The services of `vmsandbox containerd`, as containerd calls them."""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.containerd_client import Bundle
from tests.support.waiting import until
from tests.unit.containerd.conftest import World, read_to_end
from vmsandbox.containerd import roots, serving_containerd
from vmsandbox.containerd.messages import class_of
from vmsandbox.containerd.task import Task
from vmsandbox.containerd.task_service import TaskServicer
from vmsandbox.errors import InvalidArgument, NotFound, Unavailable
from vmsandbox.model import ContainerState, NamespaceMode, SandboxState
from vmsandbox.oci_command.store import Store

CREATED, RUNNING, STOPPED, PAUSED = 1, 2, 3, 4

Opened = Callable[[Path, int], AbstractContextManager[int]]


async def state(world: World, name: str = "c1", **more: Any) -> int:
    return int((await world.client.task("State", id=name, **more)).status)


def process(*command: str) -> Any:
    value = json.dumps({"args": list(command), "cwd": "/", "user": {"uid": 0}}).encode()
    return class_of("google.protobuf.Any")(type_url="types.containerd.io/x/Process", value=value)


async def test_a_pod_has_a_machine_until_containerd_ends_it(world: World) -> None:
    await world.pod()
    (sandbox,) = world.runtime.sandboxes.values()
    assert sandbox.config.lasting and sandbox.config.hostname == "web"
    assert sandbox.config.network_namespace == "/run/netns/one"
    status = await world.client.sandbox("Status", sandbox_id="s1")
    assert (status.state, status.version) == ("SANDBOX_READY", 3) and status.address.startswith("grpc+/")
    await world.client.sandbox("Stop", sandbox_id="s1")
    assert (await world.client.sandbox("Wait", sandbox_id="s1")).exited_at.seconds
    assert (await world.client.sandbox("Status", sandbox_id="s1")).state == "SANDBOX_NOTREADY"
    await world.client.sandbox("Shutdown", sandbox_id="s1")
    assert world.runtime.sandboxes == {}
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await world.client.sandbox("Status", sandbox_id="s1")
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_files_of_a_pod_are_on_a_file_system_of_their_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts: list[tuple[Any, ...]] = []
    monkeypatch.setattr(roots, "mount_command", lambda *mount: mounts.append(mount) or ["true"])
    await world.pod()
    ((kind, _, options, target),) = mounts
    assert kind == "tmpfs" and "size=1m" in options
    assert sorted(path.name for path in target.iterdir()) == ["hostname", "hosts", "resolv.conf"]
    await world.task("c1", "true")
    (container,) = world.runtime.containers.values()
    sources = {mount.container_path: mount.host_path for mount in container.config.mounts}
    assert sources["/etc/hostname"] == str(target / "hostname")
    await world.client.task("Delete", id="c1")
    await world.client.sandbox("Shutdown", sandbox_id="s1")
    assert not target.exists()


async def test_a_container_has_a_life_of_which_containerd_is_told(world: World, opened: Opened) -> None:
    await world.pod()
    bundle = await world.task("c1", "sh", "-c", "cat; echo err >&2; exit 3")
    assert await state(world) == CREATED
    with opened(bundle.fifos["stdout"], os.O_RDONLY) as stdout, opened(bundle.fifos["stderr"], os.O_RDONLY) as stderr:
        await world.client.task("Start", id="c1")
        with opened(bundle.fifos["stdin"], os.O_WRONLY) as stdin:
            os.write(stdin, b"typed\n")
        await world.client.task("CloseIO", id="c1")
        assert (await read_to_end(stdout), await read_to_end(stderr)) == (b"typed\n", b"err\n")
    assert (await world.client.task("Wait", id="c1")).exit_status == 3
    assert await state(world) == STOPPED
    assert (await world.client.task("Delete", id="c1")).exit_status == 3
    await world.containerd.topics("create", "start", "exit", "delete")
    assert world.runtime.containers == {} and len(world.runtime.sandboxes) == 1
    assert list((world.directory / "kept/tasks/k8s.io").iterdir()) == []


async def test_a_command_runs_in_a_container(world: World, opened: Opened) -> None:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    await world.client.task("Start", id="c1")
    bundle = Bundle(world.directory / "e", {}, "s1")
    await world.client.task(
        "Exec", id="c1", exec_id="e", spec=process("sh", "-c", "echo out; exit 7"), **bundle.streams("stdout")
    )
    assert await state(world, exec_id="e") == CREATED
    with opened(bundle.fifos["stdout"], os.O_RDONLY) as stdout:
        await world.client.task("Start", id="c1", exec_id="e")
        assert (await world.client.task("Wait", id="c1", exec_id="e")).exit_status == 7
        assert await read_to_end(stdout) == b"out\n"
    assert (await world.client.task("Delete", id="c1", exec_id="e")).exit_status == 7
    assert await state(world) == RUNNING


async def test_what_has_ended_cannot_be_killed_and_what_runs_cannot_be_deleted(world: World) -> None:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    await world.client.task("Start", id="c1")
    with pytest.raises(grpc.aio.AioRpcError, match="runs"):
        await world.client.task("Delete", id="c1")
    await world.client.task("Kill", id="c1", signal=9)
    await world.client.task("Wait", id="c1")
    with pytest.raises(grpc.aio.AioRpcError, match="process already finished") as error:
        await world.client.task("Kill", id="c1", signal=9)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_container_is_paused_and_goes_on(world: World) -> None:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    await world.client.task("Start", id="c1")
    await world.client.task("Pause", id="c1")
    assert await state(world) == PAUSED
    await world.client.task("Resume", id="c1")
    assert await state(world) == RUNNING


async def test_a_container_sees_the_processes_of_its_target(world: World) -> None:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    world.containerd.targets["c2"] = "c1"
    await world.task("c2", "sleep", "1000")
    first, second = world.runtime.containers.values()
    assert second.config.security.namespaces.pid is NamespaceMode.TARGET
    assert second.config.security.namespaces.target_id == first.id
    assert first.config.security.namespaces.pid is NamespaceMode.CONTAINER


async def test_a_pod_uses_what_its_containers_use(world: World) -> None:
    await world.pod()
    for name in ("c1", "c2", "created"):
        await world.task(name, "sleep", "1000")
    for name in ("c1", "c2"):
        await world.client.task("Start", id=name)
    metrics = class_of("io.containerd.cgroups.v2.Metrics")
    one = metrics.FromString((await world.client.task("Stats", id="c1")).stats.value)
    both = metrics.FromString((await world.client.sandbox("Metrics", sandbox_id="s1")).metrics.data.value)
    assert one.memory.usage and both.memory.usage == 2 * one.memory.usage


@pytest.mark.parametrize("missing", [NotFound("it was removed"), Unavailable("its guest is being taken back")])
async def test_a_container_without_figures_hides_no_others(
    world: World, monkeypatch: pytest.MonkeyPatch, missing: Exception
) -> None:
    await world.pod()
    for name in ("c1", "c2"):
        await world.task(name, "sleep", "1000")
        await world.client.task("Start", id=name)
    measure, without = TaskServicer.metrics_of, {"c1"}

    async def measured(servicer: TaskServicer, task: Task) -> Any:
        if task.entry.id in without:
            raise missing
        return await measure(servicer, task)

    monkeypatch.setattr(TaskServicer, "metrics_of", measured)
    answer = await world.client.sandbox("Metrics", sandbox_id="s1")
    assert class_of("io.containerd.cgroups.v2.Metrics").FromString(answer.metrics.data.value).memory.usage
    without.add("c2")
    with contextlib.nullcontext() if isinstance(missing, NotFound) else pytest.raises(grpc.aio.AioRpcError):
        await world.client.sandbox("Metrics", sandbox_id="s1")


@pytest.mark.parametrize(("name", "code"), [("a/b", "INVALID_ARGUMENT"), ("s1", "ALREADY_EXISTS")])
async def test_an_id_is_valid_and_new(world: World, name: str, code: str) -> None:
    await world.pod()
    await world.task("s1", "sleep", "1000")
    for call in (world.client.sandbox("Create", sandbox_id=name), world.client.task("Create", id=name)):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        assert error.value.code() is grpc.StatusCode[code]


async def test_a_restart_of_the_daemon_is_not_noticed(world: World) -> None:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    await world.client.task("Start", id="c1")
    waiting = asyncio.create_task(world.client.task("Wait", id="c1"))
    await world.restart_daemon()
    assert await state(world) == RUNNING
    await world.client.task("Kill", id="c1", signal=15)
    assert (await waiting).exit_status == 143
    assert (await world.client.sandbox("Status", sandbox_id="s1")).state == "SANDBOX_READY"


async def test_a_task_that_a_machine_cannot_have_is_not_unimplemented(world: World) -> None:
    """containerd 2.1 takes Unimplemented for an older service, and panics."""
    await world.pod()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await world.task("c1", "true", stdout="binary:///usr/bin/logger")
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert world.runtime.containers == {} and list((world.directory / "kept/tasks/k8s.io").iterdir()) == []


async def test_a_machine_that_ends_by_itself_ends_the_wait(world: World) -> None:
    await world.pod()
    (sandbox,) = world.runtime.sandboxes
    await world.runtime.stop_pod_sandbox(sandbox)
    await world.client.sandbox("Wait", sandbox_id="s1")
    assert world.runtime.sandboxes[sandbox].state is SandboxState.NOTREADY


async def test_another_process_takes_tasks_and_sandboxes_back(world: World) -> None:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    await world.client.task("Start", id="c1")
    (container,) = world.runtime.containers
    await world.begin()
    assert await state(world) == RUNNING
    assert world.runtime.containers[container].state is ContainerState.RUNNING
    await world.client.task("Kill", id="c1", signal=15)
    assert (await world.client.task("Wait", id="c1")).exit_status == 143


async def test_a_directory_whose_socket_would_have_too_long_a_path_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / ("x" * 100)
    with pytest.raises(InvalidArgument, match="too long for a socket"):
        async with serving_containerd(kept, tmp_path, tmp_path):
            pass
    assert not kept.exists()


async def test_what_a_killed_process_was_making_is_undone(world: World) -> None:
    entry = Store(str(world.directory / "kept/tasks/k8s.io")).claim("c1")
    entry.save(id="c1", container="")
    await world.begin()
    assert not Path(entry.directory).exists()


async def test_another_process_ends_what_containerd_does_not_know_any_more(world: World) -> None:
    await world.pod()
    await world.task("c1", "sleep", "1000")
    await world.client.task("Start", id="c1")
    world.containerd.known.clear()
    await world.begin()
    await until(lambda: world.runtime.containers == {} and world.runtime.sandboxes == {})
