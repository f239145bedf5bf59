"""Every call of the runtime service over a real socket, as a generated client makes it."""

import asyncio
import json
from dataclasses import replace

import grpc
import pytest
from cri_api.v1 import api_pb2 as api
from google.protobuf.unknown_fields import UnknownFieldSet

from tests.support.cri import IMAGE, served
from tests.support.waiting import until
from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.model import (
    ContainerEvent,
    ContainerEventKind,
    ContainerState,
    ContainerUser,
    PodSandboxConfig,
    PodSandboxMetadata,
    Resources,
    SandboxState,
    SandboxStatus,
)


@pytest.fixture
async def cri(tmp_path):
    async with served(tmp_path) as it:
        yield it


class Urls:
    def __init__(self):
        self.requests = []
        self.error = None

    def exec_url(self, request):
        return self._url("exec", request)

    def attach_url(self, request):
        return self._url("attach", request)

    def portforward_url(self, request):
        return self._url("portforward", request)

    def debug_url(self, request):
        return self._url("debug", request)

    def _url(self, kind, request):
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return f"http://127.0.0.1:1/{kind}/token"


@pytest.fixture
async def streaming(tmp_path):
    urls = Urls()
    async with served(tmp_path, urls) as it:
        yield it, urls


async def failure(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details()


async def test_version_has_no_empty_field(cri):
    version = await cri.runtime_stub.Version(api.VersionRequest(version="0.1.0"))
    assert (version.version, version.runtime_name, version.runtime_api_version) == ("0.1.0", "vmsandbox", "v1")
    assert version.runtime_version


async def test_a_sandbox_goes_from_ready_to_removed(cri):
    sandbox_id = await cri.sandbox("web", app="web")
    request = api.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
    status = (await cri.runtime_stub.PodSandboxStatus(request)).status
    assert status.state == api.SANDBOX_READY
    assert status.metadata == api.PodSandboxMetadata(name="web", uid="uid-web", namespace="default")
    assert dict(status.labels) == {"app": "web"}
    assert status.network.ip == "10.1.2.3"
    assert [item.ip for item in status.network.additional_ips] == ["fd00::3"]
    assert status.created_at > 10**18
    await cri.runtime_stub.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox_id))
    stopped = (await cri.runtime_stub.PodSandboxStatus(request)).status
    assert (stopped.state, stopped.network.ip) == (api.SANDBOX_NOTREADY, "")
    await cri.runtime_stub.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id))
    code, details = await failure(cri.runtime_stub.PodSandboxStatus(request))
    assert (code, details) == (grpc.StatusCode.NOT_FOUND, f"there is no sandbox {sandbox_id}")


async def test_stopping_and_removing_what_is_unknown_succeeds(cri):
    await cri.runtime_stub.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id="unknown"))
    await cri.runtime_stub.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id="unknown"))
    await cri.runtime_stub.StopContainer(api.StopContainerRequest(container_id="unknown"))
    await cri.runtime_stub.RemoveContainer(api.RemoveContainerRequest(container_id="unknown"))


async def test_the_handler_reaches_the_service_with_the_configuration(cri):
    config = api.PodSandboxConfig(metadata=api.PodSandboxMetadata(name="p", uid="u", namespace="n"), hostname="h")
    await cri.runtime_stub.RunPodSandbox(api.RunPodSandboxRequest(config=config, runtime_handler="small"))
    (call,) = cri.runtime.calls
    assert (call[0], call[1].runtime_handler, call[1].hostname) == ("run_pod_sandbox", "small", "h")


async def test_a_sandbox_that_is_being_made_is_not_listed(cri):
    config = PodSandboxConfig(PodSandboxMetadata("p", "u", "n"))
    cri.runtime.sandboxes["b" * 32] = SandboxStatus("b" * 32, config, SandboxState.STARTING, 1)
    assert not (await cri.runtime_stub.ListPodSandbox(api.ListPodSandboxRequest())).items


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (api.PodSandboxFilter(), {"a", "b", "c"}),
        (api.PodSandboxFilter(id="00000002"), {"b"}),
        (api.PodSandboxFilter(id="0000"), {"a", "b", "c"}),
        (api.PodSandboxFilter(id="f"), set()),
        (api.PodSandboxFilter(state=api.PodSandboxStateValue(state=api.SANDBOX_NOTREADY)), {"c"}),
        (api.PodSandboxFilter(state=api.PodSandboxStateValue(state=api.SANDBOX_READY)), {"a", "b"}),
        (api.PodSandboxFilter(label_selector={"tier": "front"}), {"a", "c"}),
        (api.PodSandboxFilter(label_selector={"tier": "front", "zone": "1"}), {"a"}),
        (api.PodSandboxFilter(label_selector={"tier": ""}), set()),
        (
            api.PodSandboxFilter(
                state=api.PodSandboxStateValue(state=api.SANDBOX_READY), label_selector={"tier": "front"}
            ),
            {"a"},
        ),
    ],
)
async def test_sandboxes_are_filtered(cri, wanted, names):
    await cri.sandbox("a", tier="front", zone="1")
    await cri.sandbox("b", tier="back")
    stopped = await cri.sandbox("c", tier="front")
    await cri.runtime_stub.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=stopped))
    items = (await cri.runtime_stub.ListPodSandbox(api.ListPodSandboxRequest(filter=wanted))).items
    assert {item.metadata.name for item in items} == names


async def test_the_verbose_status_of_a_sandbox_holds_its_configuration(cri):
    config = api.PodSandboxConfig(
        metadata=api.PodSandboxMetadata(name="p", uid="u", namespace="n"),
        linux=api.LinuxPodSandboxConfig(resources=api.LinuxContainerResources(memory_limit_in_bytes=2**33)),
    )
    response = await cri.runtime_stub.RunPodSandbox(api.RunPodSandboxRequest(config=config))
    request = api.PodSandboxStatusRequest(pod_sandbox_id=response.pod_sandbox_id)
    assert not (await cri.runtime_stub.PodSandboxStatus(request)).info
    request.verbose = True
    info = json.loads((await cri.runtime_stub.PodSandboxStatus(request)).info["info"])
    assert info["config"]["linux"]["resources"] == {"memory_limit_in_bytes": 2**33}
    assert info["kernel"] == "6.12"
    assert info["resources"]["declared"] == {"memoryLimit": 2**33, "cpuLimit": None, "cpuShares": None}
    assert (info["machine"]["qemuPid"], info["machine"]["most"]) == (71, None)


async def test_the_status_of_a_sandbox_tells_its_containers(cri):
    sandbox_id, other = await cri.sandbox("a"), await cri.sandbox("b")
    container_id = await cri.container(sandbox_id)
    await cri.container(other)
    response = await cri.runtime_stub.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id))
    assert [status.id for status in response.containers_statuses] == [container_id]
    assert response.timestamp > 10**18


async def test_a_container_goes_from_created_to_removed(cri):
    sandbox_id = await cri.sandbox()
    container_id = await cri.container(sandbox_id, start=False, log_path="main/0.log", annotations={"note": "x"})
    request = api.ContainerStatusRequest(container_id=container_id)
    created = (await cri.runtime_stub.ContainerStatus(request)).status
    assert (created.state, created.started_at, created.finished_at) == (api.CONTAINER_CREATED, 0, 0)
    await cri.runtime_stub.StartContainer(api.StartContainerRequest(container_id=container_id))
    running = (await cri.runtime_stub.ContainerStatus(request)).status
    assert running.state == api.CONTAINER_RUNNING
    assert running.image.image == "registry.example/app:1"
    assert running.image_ref == IMAGE.repo_digests[0]
    assert running.image_id == IMAGE.id
    assert running.log_path == "/var/log/pods/main/0.log"
    assert running.stop_signal == api.SIGQUIT
    assert dict(running.annotations) == {"note": "x"}
    await cri.runtime_stub.StopContainer(api.StopContainerRequest(container_id=container_id, timeout=7))
    assert cri.runtime.calls[-1] == ("stop_container", container_id, 7)
    exited = (await cri.runtime_stub.ContainerStatus(request)).status
    assert (exited.state, exited.exit_code, exited.reason) == (api.CONTAINER_EXITED, 137, "Error")
    assert exited.created_at < exited.started_at < exited.finished_at
    await cri.runtime_stub.RemoveContainer(api.RemoveContainerRequest(container_id=container_id))
    assert (await failure(cri.runtime_stub.ContainerStatus(request)))[0] is grpc.StatusCode.NOT_FOUND


async def test_the_image_of_a_volume_is_told_by_its_id(cri):
    assert "image_ref" not in api.ImageSpec.DESCRIPTOR.fields_by_name, "the bindings have it: use it"
    container_id = await cri.container(
        await cri.sandbox(), mounts=[api.Mount(container_path="/m", image=api.ImageSpec(image=IMAGE.repo_tags[0]))]
    )
    status = (await cri.runtime_stub.ContainerStatus(api.ContainerStatusRequest(container_id=container_id))).status
    (field,) = UnknownFieldSet(status.mounts[0].image)
    assert (field.field_number, field.data) == (20, IMAGE.id.encode())
    assert status.mounts[0].image.image == IMAGE.repo_tags[0]


async def test_a_container_is_told_after_its_image_was_removed(cri):
    container_id = await cri.container(await cri.sandbox())
    cri.images.held.clear()
    status = (await cri.runtime_stub.ContainerStatus(api.ContainerStatusRequest(container_id=container_id))).status
    assert (status.image.image, status.image_id, status.stop_signal) == (IMAGE.id, IMAGE.id, api.SIGTERM)


async def test_who_a_container_runs_as_is_told_once_it_is_known(cri):
    container_id = await cri.container(await cri.sandbox())
    request = api.ContainerStatusRequest(container_id=container_id)
    assert not (await cri.runtime_stub.ContainerStatus(request)).status.HasField("user")
    cri.runtime.change(container_id, user=ContainerUser(1000, 1000, (1000, 50000)))
    user = (await cri.runtime_stub.ContainerStatus(request)).status.user
    assert user == api.ContainerUser(
        linux=api.LinuxContainerUser(uid=1000, gid=1000, supplemental_groups=[1000, 50000])
    )


async def test_the_verbose_status_of_a_container_holds_its_configuration(cri):
    sandbox_id = await cri.sandbox()
    container_id = await cri.container(sandbox_id, command=["sleep", "1"])
    request = api.ContainerStatusRequest(container_id=container_id, verbose=True)
    info = json.loads((await cri.runtime_stub.ContainerStatus(request)).info["info"])
    assert (info["sandboxID"], info["config"]["command"]) == (sandbox_id, ["sleep", "1"])


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (api.ContainerFilter(), {"one", "two", "three"}),
        (api.ContainerFilter(state=api.ContainerStateValue(state=api.CONTAINER_CREATED)), {"three"}),
        (api.ContainerFilter(pod_sandbox_id="00000001"), {"one", "two"}),
        (api.ContainerFilter(pod_sandbox_id="00000001", label_selector={"k": "v"}), {"two"}),
        (api.ContainerFilter(id="00000003"), {"one"}),
        (api.ContainerFilter(id="00000003", pod_sandbox_id="00000002"), set()),
    ],
)
async def test_containers_are_filtered(cri, wanted, names):
    first, second = await cri.sandbox("a"), await cri.sandbox("b")
    await cri.container(first, "one")
    await cri.container(first, "two", labels={"k": "v"})
    await cri.container(second, "three", start=False, labels={"k": "v"})
    listed = (await cri.runtime_stub.ListContainers(api.ListContainersRequest(filter=wanted))).containers
    assert {item.metadata.name for item in listed} == names
    assert all(item.image_id == item.image_ref == IMAGE.id for item in listed)


async def test_ids_may_be_given_by_a_beginning_that_only_one_has(cri):
    sandbox_id = await cri.sandbox("a")
    await cri.sandbox("b")
    await cri.runtime_stub.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox_id[:8]))
    assert cri.runtime.calls[-1] == ("stop_pod_sandbox", sandbox_id)
    code, details = await failure(
        cri.runtime_stub.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox_id[:4]))
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == "2 sandbox ids begin with 0000; try: give more characters of it"


async def test_an_empty_id_is_refused(cri):
    await cri.sandbox("a")
    code, details = await failure(cri.runtime_stub.RemovePodSandbox(api.RemovePodSandboxRequest()))
    assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, "no sandbox id was given")
    assert cri.runtime.sandboxes


async def test_an_update_changes_the_limits_it_names_alone(cri):
    container_id = await cri.container(
        await cri.sandbox(),
        linux=api.LinuxContainerConfig(
            resources=api.LinuxContainerResources(
                memory_limit_in_bytes=100, cpu_shares=7, cpuset_cpus="0", unified={"a": "1", "b": "1"}
            )
        ),
    )
    await cri.runtime_stub.UpdateContainerResources(
        api.UpdateContainerResourcesRequest(
            container_id=container_id,
            linux=api.LinuxContainerResources(memory_limit_in_bytes=200, unified={"b": "2"}),
        )
    )
    status = (await cri.runtime_stub.ContainerStatus(api.ContainerStatusRequest(container_id=container_id))).status
    assert status.resources.linux == api.LinuxContainerResources(
        memory_limit_in_bytes=200, cpu_shares=7, cpuset_cpus="0", unified={"a": "1", "b": "2"}
    )


async def test_a_log_is_reopened_while_its_container_runs(cri):
    container_id = await cri.container(await cri.sandbox())
    request = api.ReopenContainerLogRequest(container_id=container_id)
    await cri.runtime_stub.ReopenContainerLog(request)
    assert cri.runtime.calls[-1] == ("reopen_container_log", container_id)
    cri.runtime.end(container_id, 0)
    assert (await failure(cri.runtime_stub.ReopenContainerLog(request)))[0] is grpc.StatusCode.FAILED_PRECONDITION


async def test_exec_sync_gives_output_and_exit_code_as_they_are(cri):
    container_id = await cri.container(await cri.sandbox())
    request = api.ExecSyncRequest(container_id=container_id, cmd=["echo", "hi"], timeout=3)
    response = await cri.runtime_stub.ExecSync(request)
    assert (response.stdout, response.stderr, response.exit_code) == (b"echo hi", b"\xff", 3)
    assert cri.runtime.calls[-1] == ("exec_sync", container_id, ("echo", "hi"), 3)


async def test_status_lists_conditions_handlers_and_features(cri):
    response = await cri.runtime_stub.Status(api.StatusRequest())
    assert {(item.type, item.status) for item in response.status.conditions} == {
        ("RuntimeReady", True),
        ("NetworkReady", True),
    }
    assert [handler.name for handler in response.runtime_handlers] == ["", "small", "vmsandbox"]
    assert response.features.supplemental_groups_policy
    assert not response.info
    verbose = await cri.runtime_stub.Status(api.StatusRequest(verbose=True))
    assert "state_directory" in json.loads(verbose.info["config"])


async def test_status_says_why_the_network_is_not_ready(cri):
    cri.network_errors.append(FailedPrecondition("the plugin bridge is missing", hint="install it"))
    response = await cri.runtime_stub.Status(api.StatusRequest())
    (condition,) = (item for item in response.status.conditions if item.type == "NetworkReady")
    assert not condition.status
    assert condition.reason == "NetworkPluginNotReady"
    assert condition.message == "the plugin bridge is missing; try: install it"


async def test_the_cgroup_driver_is_cgroupfs(cri):
    response = await cri.runtime_stub.RuntimeConfig(api.RuntimeConfigRequest())
    assert response.linux.cgroup_driver == api.CGROUPFS


async def test_pod_ranges_are_checked(cri):
    def request(ranges):
        return api.UpdateRuntimeConfigRequest(
            runtime_config=api.RuntimeConfig(network_config=api.NetworkConfig(pod_cidr=ranges))
        )

    await cri.runtime_stub.UpdateRuntimeConfig(request(""))
    await cri.runtime_stub.UpdateRuntimeConfig(request("10.3.0.0/24, fd00::/64"))
    code, details = await failure(cri.runtime_stub.UpdateRuntimeConfig(request("10.3.0.0/24,nonsense")))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "'nonsense'" in details


async def test_events_come_with_the_statuses_of_their_pod(cri):
    call = cri.runtime_stub.GetContainerEvents(api.GetEventsRequest())
    await call.initial_metadata()
    sandbox_id = await cri.sandbox()
    container_id = await cri.container(sandbox_id)
    await cri.runtime_stub.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id))
    seen = [await call.read() for _ in range(3)]
    assert [(item.container_id, item.container_event_type) for item in seen] == [
        (sandbox_id, api.CONTAINER_STARTED_EVENT),
        (container_id, api.CONTAINER_STARTED_EVENT),
        (sandbox_id, api.CONTAINER_DELETED_EVENT),
    ]
    assert seen[0].pod_sandbox_status.id == sandbox_id
    assert not seen[2].HasField("pod_sandbox_status")
    call.cancel()


async def test_a_status_that_cannot_be_told_is_left_out_and_the_events_go_on(cri, caplog):
    """A record of an older version may hold a guest's number that does not fit into a message of the CRI."""
    call = cri.runtime_stub.GetContainerEvents(api.GetEventsRequest())
    await call.initial_metadata()
    sandbox_id = await cri.sandbox()
    broken, sound = [await cri.container(sandbox_id, name) for name in ("broken", "sound")]
    cri.runtime.change(broken, user=ContainerUser(2**70, 0), finished_at=2**70, exit_code=2**70)
    cri.runtime.publish(ContainerEvent(broken, sandbox_id, ContainerEventKind.STOPPED, 2**70))
    cri.runtime.end(sound, 1)
    seen = [await call.read() for _ in range(4)]
    assert (seen[3].container_id, seen[3].container_event_type) == (sound, api.CONTAINER_STOPPED_EVENT)
    assert [each.id for each in seen[3].containers_statuses] == [sound]
    status = await cri.runtime_stub.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id))
    assert [each.id for each in status.containers_statuses] == [sound]
    listed = await cri.runtime_stub.ListContainers(api.ListContainersRequest())
    assert {each.id for each in listed.containers} == {broken, sound}
    assert f"an event of {broken} is left out" in caplog.text
    call.cancel()


async def test_a_list_leaves_out_what_cannot_be_told(cri):
    sandbox_id = await cri.sandbox()
    broken, sound = [await cri.container(sandbox_id, name) for name in ("broken", "sound")]
    cri.runtime.change(broken, created_at=2**70)
    listed = await cri.runtime_stub.ListContainers(api.ListContainersRequest())
    assert [each.id for each in listed.containers] == [sound]
    cri.runtime.sandboxes["other"] = replace(cri.runtime.sandboxes[sandbox_id], id="other", created_at=2**70)
    listed = await cri.runtime_stub.ListPodSandbox(api.ListPodSandboxRequest())
    assert [each.id for each in listed.items] == [sandbox_id]


async def test_a_client_of_events_that_leaves_is_forgotten(cri):
    call = cri.runtime_stub.GetContainerEvents(api.GetEventsRequest())
    await call.initial_metadata()
    assert len(cri.runtime.listeners) == 1
    call.cancel()
    await until(lambda: not cri.runtime.listeners, 5)


async def test_a_caller_that_gives_up_cancels_its_call_in_the_service(cri):
    cri.runtime.hang.add("run_pod_sandbox")
    call = asyncio.create_task(cri.sandbox())
    await cri.runtime.begun.wait()
    call.cancel()
    async with asyncio.timeout(5):
        await cri.runtime.cancelled.wait()


async def test_a_deadline_that_passes_cancels_the_call_in_the_service(cri):
    container_id = await cri.container(await cri.sandbox())
    cri.runtime.hang.add("exec_sync")
    request = api.ExecSyncRequest(container_id=container_id, cmd=["sleep", "inf"])
    code, _ = await failure(cri.runtime_stub.ExecSync(request, timeout=0.2))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(5):
        await cri.runtime.cancelled.wait()


async def test_a_long_call_holds_up_no_other(cri):
    cri.runtime.hang.add("run_pod_sandbox")
    call = asyncio.create_task(cri.sandbox())
    await cri.runtime.begun.wait()
    async with asyncio.timeout(5):
        await cri.runtime_stub.ListPodSandbox(api.ListPodSandboxRequest())
    call.cancel()


async def test_an_error_tells_what_to_do_and_what_was_seen(cri):
    cri.runtime.errors["start_container"] = Unavailable(
        "the machine is gone", hint="look at its console", evidence={"console": "Kernel panic\nnot syncing"}
    )
    code, details = await failure(cri.container(await cri.sandbox()))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert details == ("the machine is gone; try: look at its console\nconsole:\n  Kernel panic\n  not syncing")


async def test_a_defect_is_logged_under_a_number_that_the_caller_gets(cri, caplog):
    cri.runtime.errors["start_container"] = ZeroDivisionError("secret")
    container_id = await cri.container(await cri.sandbox(), start=False)
    code, details = await failure(cri.runtime_stub.StartContainer(api.StartContainerRequest(container_id=container_id)))
    assert code is grpc.StatusCode.INTERNAL
    assert "secret" not in details
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert record.exc_info[0] is ZeroDivisionError
    assert record.getMessage().split()[-1] in details


async def test_what_a_container_uses_is_told_as_the_guest_measures_it(cri):
    container_id = await cri.container(await cri.sandbox())
    request = api.ContainerStatsRequest(container_id=container_id[:12])
    stats = (await cri.runtime_stub.ContainerStats(request)).stats
    assert stats.attributes.id == container_id
    assert stats.cpu.usage_core_nano_seconds.value == 7_000_000_000
    assert stats.memory.timestamp == stats.cpu.timestamp > 0
    assert (stats.memory.working_set_bytes.value, stats.memory.available_bytes.value) == (3072, 8192 - 3072)


async def test_a_container_that_does_not_run_has_attributes_and_no_usage(cri):
    container_id = await cri.container(await cri.sandbox(), start=False)
    stats = (await cri.runtime_stub.ContainerStats(api.ContainerStatsRequest(container_id=container_id))).stats
    assert stats.attributes.id == container_id
    assert not stats.HasField("cpu") and not stats.HasField("memory")
    assert not (await cri.runtime_stub.ListContainerStats(api.ListContainerStatsRequest())).stats


async def test_statistics_are_filtered_and_only_the_sandboxes_concerned_are_asked(cri):
    first, second = await cri.sandbox(), await cri.sandbox()
    mine, other = await cri.container(first), await cri.container(second)

    async def listed(**wanted):
        request = api.ListContainerStatsRequest(filter=wanted)
        return {stats.attributes.id for stats in (await cri.runtime_stub.ListContainerStats(request)).stats}

    assert await listed() == {mine, other}
    assert await listed(id=other) == {other}
    assert await listed(pod_sandbox_id=first) == {mine}
    assert cri.runtime.calls[-1] == ("measure_containers", {first})
    assert await listed(label_selector={"nobody": "has this"}) == set()


async def test_what_a_sandbox_uses_is_told_as_its_host_measures_it_with_its_containers(cri):
    sandbox_id = await cri.sandbox("web", app="web")
    running, created = await cri.container(sandbox_id), await cri.container(sandbox_id, start=False)
    request = api.PodSandboxStatsRequest(pod_sandbox_id=sandbox_id[:12])
    stats = (await cri.runtime_stub.PodSandboxStats(request)).stats
    assert stats.attributes.metadata == api.PodSandboxMetadata(name="web", uid="uid-web", namespace="default")
    assert (stats.attributes.id, dict(stats.attributes.labels)) == (sandbox_id, {"app": "web"})
    assert stats.linux.cpu.usage_core_nano_seconds.value == 9_000_000
    assert (stats.linux.memory.usage_bytes.value, stats.linux.memory.working_set_bytes.value) == (65536, 32768)
    interface = stats.linux.network.default_interface
    assert (interface.name, interface.rx_bytes.value, interface.tx_bytes.value) == ("eth0", 3000, 2000)
    assert [each.attributes.id for each in stats.linux.containers] == [running] != [created]
    assert stats.linux.containers[0].cpu.usage_core_nano_seconds.value == 7_000_000_000


async def test_what_is_not_measured_of_a_sandbox_is_absent_rather_than_zero(cri):
    request = api.PodSandboxStatsRequest(pod_sandbox_id=await cri.sandbox())
    linux = (await cri.runtime_stub.PodSandboxStats(request)).stats.linux
    assert not linux.HasField("process") and not linux.HasField("io")
    assert not linux.cpu.HasField("usage_nano_cores") and not linux.memory.HasField("available_bytes")


async def test_a_sandbox_that_is_not_ready_has_no_statistics_and_is_not_listed(cri):
    stopped, ready = await cri.sandbox(), await cri.sandbox()
    await cri.runtime_stub.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=stopped))
    asking = cri.runtime_stub.PodSandboxStats(api.PodSandboxStatsRequest(pod_sandbox_id=stopped))
    assert (await failure(asking))[0] is grpc.StatusCode.FAILED_PRECONDITION
    listed = (await cri.runtime_stub.ListPodSandboxStats(api.ListPodSandboxStatsRequest())).stats
    assert [stats.attributes.id for stats in listed] == [ready]


async def test_an_unknown_sandbox_has_no_statistics(cri):
    asking = cri.runtime_stub.PodSandboxStats(api.PodSandboxStatsRequest(pod_sandbox_id="absent"))
    assert await failure(asking) == (grpc.StatusCode.NOT_FOUND, "there is no sandbox absent")


async def test_statistics_of_sandboxes_are_filtered_and_each_has_its_own_containers(cri):
    web, other = await cri.sandbox("web", app="web"), await cri.sandbox("other")
    containers = {web: [await cri.container(web)], other: [await cri.container(other)]}

    async def listed(**wanted):
        answer = await cri.runtime_stub.ListPodSandboxStats(api.ListPodSandboxStatsRequest(filter=wanted))
        return {each.attributes.id: [one.attributes.id for one in each.linux.containers] for each in answer.stats}

    assert await listed() == containers
    assert await listed(id=other[:8]) == {other: containers[other]}
    assert await listed(label_selector={"app": "web"}) == {web: containers[web]}
    assert cri.runtime.calls[-1] == ("measure_containers", {web})
    assert await listed(id=other, label_selector={"app": "web"}) == {}


async def test_metrics_are_those_of_the_sandboxes_that_are_ready_and_of_their_containers_that_run(cri):
    sandbox_id, stopped = await cri.sandbox(), await cri.sandbox("other")
    running, created = await cri.container(sandbox_id), await cri.container(sandbox_id, start=False)
    await cri.runtime_stub.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=stopped))
    (pod,) = (await cri.runtime_stub.ListPodSandboxMetrics(api.ListPodSandboxMetricsRequest())).pod_metrics
    assert pod.pod_sandbox_id == sandbox_id
    assert [each.container_id for each in pod.container_metrics] == [running] != [created]
    described = (await cri.runtime_stub.ListMetricDescriptors(api.ListMetricDescriptorsRequest())).descriptors
    keys = {each.name: each.label_keys for each in described}
    for metric in (*pod.metrics, *pod.container_metrics[0].metrics):
        assert len(metric.label_values) == len(keys[metric.name])


async def test_a_pod_that_cannot_be_measured_fails_no_list_of_metrics(cri):
    measured, unknown = await cri.sandbox(), await cri.sandbox("other")
    cri.runtime.unmeasured.add(unknown)
    answer = await cri.runtime_stub.ListPodSandboxMetrics(api.ListPodSandboxMetricsRequest())
    assert {each.pod_sandbox_id: bool(each.metrics) for each in answer.pod_metrics} == {measured: True, unknown: False}


async def test_a_pod_is_resized_by_what_its_kubelet_sends(cri):
    sandbox_id = await cri.sandbox()
    request = api.UpdatePodSandboxResourcesRequest(
        pod_sandbox_id=sandbox_id,
        overhead=api.LinuxContainerResources(memory_limit_in_bytes=2**27, cpu_shares=256),
        resources=api.LinuxContainerResources(memory_limit_in_bytes=2**30, cpu_quota=200_000, cpu_period=100_000),
    )
    assert await cri.runtime_stub.UpdatePodSandboxResources(request) == api.UpdatePodSandboxResourcesResponse()
    assert cri.runtime.calls[-1] == (
        "update_pod_sandbox_resources",
        sandbox_id,
        Resources(memory_limit=2**30, cpu_quota=200_000, cpu_period=100_000),
        Resources(memory_limit=2**27, cpu_shares=256),
    )


async def test_a_checkpoint_names_what_it_cannot_do(cri):
    sandbox_id = await cri.sandbox()
    container_id = await cri.container(sandbox_id)
    checkpoint = cri.runtime_stub.CheckpointContainer(api.CheckpointContainerRequest(container_id=container_id))
    assert (await failure(checkpoint))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_streaming_calls_give_the_urls(streaming):
    cri, urls = streaming
    sandbox_id = await cri.sandbox()
    container_id = await cri.container(sandbox_id)
    run = await cri.runtime_stub.Exec(api.ExecRequest(container_id=container_id, cmd=["sh"], tty=True, stdin=True))
    attach = await cri.runtime_stub.Attach(api.AttachRequest(container_id=container_id, stdout=True, stderr=True))
    forward = await cri.runtime_stub.PortForward(api.PortForwardRequest(pod_sandbox_id=sandbox_id, port=[80]))
    assert [response.url.split("/")[3] for response in (run, attach, forward)] == ["exec", "attach", "portforward"]
    assert urls.requests[0].command == ("sh",)
    assert (urls.requests[0].tty, urls.requests[0].stdin, urls.requests[0].stdout) == (True, True, False)
    assert (urls.requests[1].stdout, urls.requests[1].stderr) == (True, True)
    assert (urls.requests[2].sandbox_id, urls.requests[2].ports) == (sandbox_id, (80,))


async def test_what_the_streaming_server_refuses_reaches_the_client(streaming):
    cri, urls = streaming
    container_id = await cri.container(await cri.sandbox(), start=False)
    urls.error = FailedPrecondition(f"container {container_id} does not run")
    call = cri.runtime_stub.Attach(api.AttachRequest(container_id=container_id[:8], stdout=True))
    assert await failure(call) == (grpc.StatusCode.FAILED_PRECONDITION, str(urls.error))
    assert urls.requests[-1].container_id == container_id


async def test_a_server_without_streaming_says_so(cri):
    container_id = await cri.container(await cri.sandbox())
    call = cri.runtime_stub.Exec(api.ExecRequest(container_id=container_id, cmd=["sh"], stdout=True))
    assert (await failure(call))[0] is grpc.StatusCode.UNIMPLEMENTED
    assert cri.runtime.container_status(container_id).state is ContainerState.RUNNING


async def test_output_of_eight_megabytes_passes(cri):
    container_id = await cri.container(await cri.sandbox())
    request = api.ExecSyncRequest(container_id=container_id, cmd=["x" * (8 << 20)])
    response = await cri.runtime_stub.ExecSync(request)
    assert len(response.stdout) == 8 << 20


async def test_events_end_when_the_server_ends(tmp_path):
    async with served(tmp_path) as cri:
        call = cri.runtime_stub.GetContainerEvents(api.GetEventsRequest())
        await call.initial_metadata()
        cri.runtime.publish(ContainerEvent("c", "s", ContainerEventKind.DELETED, 5))
        assert (await call.read()).created_at == 5
    assert not cri.runtime.listeners
