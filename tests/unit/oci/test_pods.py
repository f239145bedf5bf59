"""Containers that share a machine, over the door's socket; the processes on the host are this test's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.support.waiting import until
from tests.unit.oci.configs import config, namespaces
from vmsandbox import aio
from vmsandbox.model import ContainerState, NamespaceMode
from vmsandbox.oci.calls import Calls
from vmsandbox.oci.host_namespaces import Identity
from vmsandbox.oci.orphans import _remove_empty, end_orphans
from vmsandbox.oci.pods import Pods
from vmsandbox.oci_command.daemon import Connection, Daemon
from vmsandbox.oci_command.errors import CommandError
from vmsandbox.oci_command.store import Store

OF_ANOTHER = namespaces("mount", pid="/of/pid", network="/of/net", ipc="/of/ipc", uts="/of/uts")
SANDBOX = {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "s1"}
MEMBER = SANDBOX | {"io.kubernetes.cri.container-type": "container"}
CRI_O = {"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.cri-o.SandboxID": "s1"}


pytestmark = pytest.mark.usefixtures("host")


async def call(daemon: Daemon, name: str, **arguments: Any) -> dict[str, Any]:
    return await asyncio.to_thread(daemon.call, name, **arguments)


async def create(daemon: Daemon, name: str, kinds: Any = None, root: str = "/run/root", **annotations: str) -> str:
    linux = config()["linux"] | ({"namespaces": kinds} if kinds else {})
    process = config()["process"] | {"args": ["sleep", "1000"]}
    wanted = config(linux=linux, annotations=annotations, process=process)
    made = await call(daemon, "create", id=name, root=root, bundle="/b", config=wanted)
    return str(made["container"])


@contextlib.asynccontextmanager
async def attached(daemon: Daemon, container: str) -> AsyncIterator[Connection]:
    connection = await asyncio.to_thread(lambda: daemon.open("attach", container=container))
    try:
        yield connection
    finally:
        connection.close()


def machine(runtime: OciRuntime, container: str) -> str:
    return runtime.containers[container].sandbox_id


async def pod(daemon: Daemon, **changes: str) -> tuple[str, str]:
    """A sandbox and a container of a pod of containerd."""
    sandbox = await create(daemon, "s1", **SANDBOX)
    kinds = namespaces("pid", "mount", network="/of/net", ipc="/of/ipc", uts="/of/uts")
    return sandbox, await create(daemon, "c1", kinds, **MEMBER | changes)


async def test_a_container_is_deleted_while_its_pods_machine_ends(daemon: Daemon, runtime: OciRuntime) -> None:
    """Stand for podman where the infra container is killed: both clean-ups run at the same time."""
    sandbox, member = await pod(daemon)
    pods = Pods(runtime)
    delete = Calls(runtime, pods).delete
    async with pods.lock(next(iter(runtime.sandboxes.values())).config.metadata):
        deleting = [asyncio.create_task(delete({"container": each})) for each in (sandbox, member)]
        await asyncio.sleep(0)
    await asyncio.gather(*deleting)
    assert runtime.sandboxes == {}


async def test_containers_of_a_pod_share_a_machine_that_ends_with_their_sandbox(
    daemon: Daemon, runtime: OciRuntime
) -> None:
    sandbox, member = await pod(daemon)
    assert machine(runtime, sandbox) == machine(runtime, member)
    await call(daemon, "delete", container=member)
    assert list(runtime.containers) == [sandbox] and len(runtime.sandboxes) == 1
    again = await create(
        daemon, "c2", OF_ANOTHER[:1] + namespaces("pid", network="/of/net", ipc="/of/ipc", uts="/of/uts"), **MEMBER
    )
    assert await call(daemon, "delete", container=sandbox) == {"cgroup": "/libpod_parent/libpod-1"}
    assert runtime.sandboxes == {}
    assert await call(daemon, "state", container=again) == {"status": "stopped"}


async def test_the_containers_of_a_pod_end_when_its_sandbox_has_ended(daemon: Daemon, runtime: OciRuntime) -> None:
    sandbox, member = await pod(daemon)
    await call(daemon, "start", container=member)
    async with attached(daemon, sandbox), attached(daemon, member):
        await call(daemon, "start", container=sandbox)
        await call(daemon, "kill", container=sandbox, signal="9")
        await asyncio.wait_for(runtime.processes[member].wait(), 30)


async def test_a_container_of_a_pod_whose_sandbox_is_nowhere_is_refused(daemon: Daemon) -> None:
    with pytest.raises(CommandError, match="the sandbox s1 of the pod is not in a machine"):
        await create(daemon, "c1", **MEMBER)
    with pytest.raises(CommandError, match="the sandbox s1 of the pod is not in a machine"):
        await create(daemon, "c1", namespaces("pid", "ipc", "uts", network="/proc/7/ns/net"), **CRI_O)


async def test_a_pod_of_cri_o_has_a_machine_without_a_sandbox_and_it_ends_with_the_last_container(
    daemon: Daemon, runtime: OciRuntime
) -> None:
    kinds = namespaces("pid", "mount", network="/run/netns/s1", ipc="/run/ipcns/s1", uts="/run/utsns/s1")
    first, second = await asyncio.gather(*(create(daemon, name, kinds, **CRI_O) for name in ("c1", "c2")))
    assert machine(runtime, first) == machine(runtime, second)
    await call(daemon, "delete", container=first)
    assert list(runtime.containers) == [second]
    await call(daemon, "delete", container=second)
    assert runtime.sandboxes == {}


async def test_a_container_that_joins_namespaces_of_another_is_in_its_machine_and_outlives_it(
    daemon: Daemon, runtime: OciRuntime
) -> None:
    first = await create(daemon, "c1")
    async with attached(daemon, first):
        second = await create(daemon, "c2", OF_ANOTHER)
    shared = runtime.containers[second].config.security.namespaces
    assert (shared.pid, shared.target_id) == (NamespaceMode.TARGET, first)
    assert machine(runtime, first) == machine(runtime, second)
    await call(daemon, "delete", container=first)
    assert list(runtime.containers) == [second]
    third = await create(daemon, "c1")
    assert machine(runtime, third) != machine(runtime, second)


async def test_the_infra_container_of_podman_is_known_by_those_that_name_it(
    daemon: Daemon, runtime: OciRuntime
) -> None:
    infra = await create(daemon, "s1")
    kinds = namespaces("pid", "mount", network="/of/net", ipc="/of/ipc", uts="/of/uts")
    async with attached(daemon, infra):
        member = await create(daemon, "c1", kinds, **CRI_O)
        await call(daemon, "kill", container=infra, signal="KILL")
    await until(lambda: runtime.containers[member].state is ContainerState.EXITED)
    await call(daemon, "delete", container=infra)
    assert runtime.sandboxes == {}


async def test_a_namespace_of_the_host_cannot_be_joined(daemon: Daemon, host: dict[str, Identity]) -> None:
    host["/proc/1/ns/net"] = host["/proc/self/ns/net"]
    with pytest.raises(CommandError, match="/proc/1/ns/net is the host's network namespace"):
        await create(daemon, "c1", namespaces("pid", "ipc", "uts", network="/proc/1/ns/net"))


async def test_the_profile_of_the_command_is_the_handler_unless_an_annotation_names_one(
    daemon: Daemon, runtime: OciRuntime
) -> None:
    for name, said, handler in (("c1", {}, "small"), ("c2", {"vmsandbox/handler": "large"}, "large")):
        wanted = config(annotations=said)
        await call(daemon, "create", id=name, root="/r", bundle="/b", config=wanted, profile="small")
        assert [each.config.runtime_handler for each in runtime.sandboxes.values()][-1] == handler


async def test_a_container_without_a_process_on_the_host_is_killed_after_some_looks_and_goes_if_nobody_knows_it(
    daemon: Daemon, runtime: OciRuntime, tmp_path: Path
) -> None:
    pods = Pods(runtime)
    attended, known, orphan = [await create(daemon, name, root=str(tmp_path)) for name in ("c1", "c2", "c3")]
    Store(str(tmp_path)).claim("c2").save(container=known)
    delete = Calls(runtime, pods).delete
    with pods.process(attended, 1):
        async with aio.background(end_orphans(runtime, pods, delete, pause=0.01)):
            await until(lambda: runtime.containers[known].state is ContainerState.EXITED)
            await until(lambda: orphan not in runtime.containers)
    assert runtime.containers[attended].state is ContainerState.CREATED
    assert len(runtime.sandboxes) == 2


async def test_a_machine_in_which_a_killed_daemon_has_made_no_container_is_removed(
    daemon: Daemon, runtime: OciRuntime
) -> None:
    pods = Pods(runtime)
    kept, empty, busy = [await create(daemon, name) for name in ("c1", "c2", "c3")]
    machines = {name: machine(runtime, container) for name, container in (("empty", empty), ("busy", busy))}
    del runtime.containers[empty], runtime.containers[busy]
    async with pods.lock(runtime.sandboxes[machines["busy"]].config.metadata):
        with pods.process(kept, 1):
            async with aio.background(end_orphans(runtime, pods, Calls(runtime, pods).delete, pause=0.01)):
                await until(lambda: machines["empty"] not in runtime.sandboxes)
                await asyncio.sleep(0.05)
    assert runtime.sandboxes.keys() == {machine(runtime, kept), machines["busy"]}


async def test_a_pod_of_kubernetes_in_a_namespace_of_the_doors_name_is_nobodys_orphan(
    daemon: Daemon, runtime: OciRuntime
) -> None:
    pods = Pods(runtime)
    machines = {name: machine(runtime, await create(daemon, name)) for name in ("c1", "c2")}
    pod = runtime.sandboxes[machines["c1"]]
    metadata = replace(pod.config.metadata, uid="2f1f3b0c-5d2f-4b7e-9a54-0c7c38c1ad57")
    runtime.sandboxes[machines["c1"]] = replace(pod, config=replace(pod.config, metadata=metadata))
    runtime.containers.clear()
    async with aio.background(end_orphans(runtime, pods, Calls(runtime, pods).delete, pause=0.01)):
        await until(lambda: machines["c2"] not in runtime.sandboxes)
    assert runtime.sandboxes.keys() == {machines["c1"]}


async def test_a_machine_whose_next_call_has_waited_for_the_one_before_is_not_removed(
    daemon: Daemon, runtime: OciRuntime
) -> None:
    """Between the two calls nobody has the lock."""
    pods = Pods(runtime)
    container = await create(daemon, "c1")
    sandbox, made = machine(runtime, container), runtime.containers.pop(container)
    lock = pods.lock(runtime.sandboxes[sandbox].config.metadata)

    async def next_call() -> None:
        async with lock:
            runtime.containers[container] = made

    await lock.acquire()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(next_call())
        await asyncio.sleep(0)
        lock.release()
        await _remove_empty(runtime, pods, sandbox)
    assert sandbox in runtime.sandboxes
