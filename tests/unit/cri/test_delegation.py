"""Two runtimes behind one socket: which of them is asked, and what is told when one of them is not there."""

import asyncio
import contextlib
from dataclasses import dataclass, replace

import grpc
import pytest
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from tests.support.cri import IMAGE, Served, served
from tests.support.waiting import until
from vmsandbox.config import DelegateConfig, HostNamespace
from vmsandbox.cri.delegation import metrics
from vmsandbox.cri.delegation.delegate import Delegate, look_at_delegate
from vmsandbox.cri.delegation.router import ROUTES
from vmsandbox.cri.delegation.runtime_info import interleaved
from vmsandbox.cri.delegation.runtimes import Policy
from vmsandbox.cri.pod_runtime import DaemonRuntime
from vmsandbox.errors import FailedPrecondition, NotFound, Unimplemented
from vmsandbox.model import PodSandboxConfig, PodSandboxMetadata

THEIRS = "runc"
NODE, POD = api.NODE, api.POD
APP = "registry.example/app:1"


class Urls:
    """The delegate's streaming server."""

    def exec_url(self, request):
        return "http://127.0.0.1:1/delegate"

    attach_url = portforward_url = exec_url


@dataclass
class Two:
    """A client of both runtimes, their fakes, and a way to end the delegate."""

    ours: Served
    theirs: Served
    end_delegate: contextlib.AsyncExitStack

    async def run(self, name="pod", handler="", **namespaces):
        return (await self.ours.runtime_stub.RunPodSandbox(running(name, handler, **namespaces))).pod_sandbox_id

    def runs(self, sandbox_id):
        """Which runtime has it."""
        return [who for who in ("ours", "theirs") if sandbox_id in getattr(self, who).runtime.sandboxes]

    async def image(self, name=APP):
        answer = await self.ours.image_stub.ImageStatus(api.ImageStatusRequest(image=api.ImageSpec(image=name)))
        return answer.image if answer.HasField("image") else None


def running(name, handler, **namespaces):
    return api.RunPodSandboxRequest(config=pod(name, **namespaces), runtime_handler=handler)


def pod(name, **namespaces):
    options = api.NamespaceOption(**namespaces)
    security = api.LinuxSandboxSecurityContext(namespace_options=options)
    return api.PodSandboxConfig(
        metadata=api.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"),
        linux=api.LinuxPodSandboxConfig(security_context=security),
    )


@pytest.fixture
async def two(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        delegate = await stack.enter_async_context(contextlib.AsyncExitStack())
        theirs = await delegate.enter_async_context(served(tmp_path / "theirs", Urls(), first_id=0x1000))
        config = DelegateConfig(theirs.path, (THEIRS,))
        yield Two(await stack.enter_async_context(served(tmp_path / "ours", None, config)), theirs, delegate)


async def failure(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize(
    ("handler", "namespaces", "delegated"),
    [
        ("", {}, False),
        ("", {"network": POD, "pid": api.CONTAINER, "ipc": POD}, False),
        ("", {"network": NODE}, True),
        ("", {"pid": NODE}, True),
        ("", {"ipc": NODE}, True),
        (THEIRS, {}, True),
        ("vmsandbox", {"network": NODE, "pid": NODE, "ipc": NODE}, False),
        ("unknown", {"network": NODE}, False),
    ],
)
def test_only_a_pod_without_runtime_class_leaves_for_the_namespaces_it_asks_for(handler, namespaces, delegated):
    policy = Policy.of(DelegateConfig(None, (THEIRS,)))
    assert policy.delegates(handler, pod("web", **namespaces)) is delegated


def test_the_namespaces_for_which_a_pod_leaves_are_configured():
    policy = Policy.of(DelegateConfig(None, (), (HostNamespace.NETWORK,)))
    assert policy.delegates("", pod("web", network=NODE))
    assert not policy.delegates("", pod("web", pid=NODE))


def test_all_pods_without_runtime_class_can_be_the_delegates():
    assert Policy.of(DelegateConfig(None, ("",))).delegates("", pod("web"))


def test_each_call_of_the_bindings_is_routed_or_ours_alone():
    calls = {
        name
        for servicer in (api_pb2_grpc.RuntimeServiceServicer, api_pb2_grpc.ImageServiceServicer)
        for name in vars(servicer)
        if name[0].isupper()
    }
    assert calls - ROUTES.keys() == {"Version", "GetContainerEvents"}
    assert ROUTES.keys() <= calls


async def test_a_pod_is_run_by_the_runtime_whose_it_is(two):
    assert two.runs(await two.run("machine")) == ["ours"]
    assert two.runs(await two.run("classed", "small", network=NODE)) == ["ours"]
    assert two.runs(await two.run("host", network=NODE)) == ["theirs"]
    assert two.runs(await two.run("theirs", THEIRS)) == ["theirs"]


async def test_what_is_listed_is_of_both(two):
    ids = {await two.run("machine"), await two.run("theirs", THEIRS)}
    listed = await two.ours.runtime_stub.ListPodSandbox(api.ListPodSandboxRequest())
    assert {item.id for item in listed.items} == ids


async def test_a_sandbox_and_its_containers_live_and_end_in_their_runtime(two):
    stub = two.ours.runtime_stub
    two.theirs.images.held[IMAGE.id] = IMAGE
    sandbox = await two.run("theirs", THEIRS)
    container = await two.ours.container(sandbox)
    assert two.theirs.runtime.containers.keys() == {container}
    status = await stub.ContainerStatus(api.ContainerStatusRequest(container_id=container))
    assert status.status.state == api.CONTAINER_RUNNING
    ran = await stub.ExecSync(api.ExecSyncRequest(container_id=container, cmd=["echo", "hello"]))
    assert ran.stdout == b"echo hello"
    assert (await stub.Exec(api.ExecRequest(container_id=container, cmd=["a"], stdout=True))).url.endswith("delegate")
    stats = await stub.ListContainerStats(api.ListContainerStatsRequest())
    assert [each.attributes.id for each in stats.stats] == [container]
    await stub.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    await stub.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    assert not two.theirs.runtime.sandboxes


async def test_statistics_of_sandboxes_are_those_of_both(two):
    stub = two.ours.runtime_stub
    ids = {await two.run("machine"), await two.run("theirs", THEIRS)}
    listed = await stub.ListPodSandboxStats(api.ListPodSandboxStatsRequest())
    assert {each.attributes.id for each in listed.stats} == ids
    for sandbox in ids:
        stats = (await stub.PodSandboxStats(api.PodSandboxStatsRequest(pod_sandbox_id=sandbox))).stats
        assert stats.attributes.id == sandbox


async def test_statistics_of_sandboxes_are_not_listed_where_the_delegate_has_none(two):
    two.theirs.runtime.errors["measure_pod_sandboxes"] = Unimplemented("not implemented")
    sandbox, stub = await two.run("machine"), two.ours.runtime_stub
    code, _ = await failure(stub.ListPodSandboxStats(api.ListPodSandboxStatsRequest()))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    await stub.PodSandboxStats(api.PodSandboxStatsRequest(pod_sandbox_id=sandbox))


async def test_metrics_are_those_of_both_and_each_is_described_once(two):
    stub = two.ours.runtime_stub
    ids = {await two.run("machine"), await two.run("theirs", THEIRS)}
    listed = await stub.ListPodSandboxMetrics(api.ListPodSandboxMetricsRequest())
    assert {each.pod_sandbox_id for each in listed.pod_metrics if each.metrics} == ids
    names = [each.name for each in (await stub.ListMetricDescriptors(api.ListMetricDescriptorsRequest())).descriptors]
    assert len(names) == len(set(names)) > 50


@pytest.mark.parametrize("reason", [Unimplemented("unknown method"), FailedPrecondition("not now")])
async def test_metrics_are_ours_alone_where_the_delegate_gives_none(two, reason):
    stub, mine = two.ours.runtime_stub, await two.run("machine")
    await two.run("theirs", THEIRS)
    two.theirs.runtime.errors["measure_pod_sandboxes"] = reason
    listed = await stub.ListPodSandboxMetrics(api.ListPodSandboxMetricsRequest())
    assert [each.pod_sandbox_id for each in listed.pod_metrics] == [mine]


@pytest.mark.parametrize("hanging", ["ListPodSandboxMetrics", "ListMetricDescriptors"])
async def test_a_delegate_that_hangs_holds_metrics_up_for_a_while_only(two, hanging, monkeypatch):
    monkeypatch.setattr(metrics, "_PATIENCE", 0.1)
    answering = Delegate.call

    async def call(self, method, *arguments):
        return await (asyncio.Event().wait() if method == hanging else answering(self, method, *arguments))

    mine, _ = await two.run("machine"), await two.run("theirs", THEIRS)
    monkeypatch.setattr(Delegate, "call", call)
    stub = two.ours.runtime_stub
    listed = await stub.ListPodSandboxMetrics(api.ListPodSandboxMetricsRequest(), timeout=5)
    assert [each.pod_sandbox_id for each in listed.pod_metrics if each.metrics] == [mine]
    assert (await stub.ListMetricDescriptors(api.ListMetricDescriptorsRequest(), timeout=5)).descriptors


async def test_metrics_go_on_without_the_delegate(two):
    stub, mine = two.ours.runtime_stub, await two.run("machine")
    await two.end_delegate.aclose()
    listed = await stub.ListPodSandboxMetrics(api.ListPodSandboxMetricsRequest())
    assert [each.pod_sandbox_id for each in listed.pod_metrics] == [mine]
    assert (await stub.ListMetricDescriptors(api.ListMetricDescriptorsRequest())).descriptors


async def test_what_neither_has_is_told_by_the_delegate(two):
    request = api.PodSandboxStatusRequest(pod_sandbox_id="absent")
    code, details = await failure(two.ours.runtime_stub.PodSandboxStatus(request))
    assert (code, details) == (grpc.StatusCode.NOT_FOUND, "there is no sandbox absent")
    await two.ours.runtime_stub.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id="absent"))


async def test_what_neither_has_has_ended_also_where_the_delegate_refuses_to_end_it(two):
    stub = two.ours.runtime_stub
    for call in ("stop_pod_sandbox", "remove_pod_sandbox", "stop_container", "remove_container"):
        two.theirs.runtime.errors[call] = NotFound("an error occurred when try to find it: not found")
    await stub.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id="absent"))
    await stub.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id="absent"))
    await stub.StopContainer(api.StopContainerRequest(container_id="absent"))
    await stub.RemoveContainer(api.RemoveContainerRequest(container_id="absent"))


async def test_an_id_that_is_not_given_is_ours_to_refuse(two):
    code, details = await failure(two.ours.runtime_stub.StopPodSandbox(api.StopPodSandboxRequest()))
    assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, "no sandbox id was given")


async def test_what_the_delegate_refuses_arrives_as_it_said_it(two):
    error = FailedPrecondition("no room", hint="make some", evidence={"seen": "a line\nanother"})
    two.theirs.runtime.errors["run_pod_sandbox"] = error
    code, details = await failure(two.ours.runtime_stub.RunPodSandbox(running("web", THEIRS)))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert details == "no room; try: make some\nseen:\n  a line\n  another"


async def test_a_deadline_is_the_delegates_too(two):
    two.theirs.runtime.hang.add("run_pod_sandbox")
    code, _ = await failure(two.ours.runtime_stub.RunPodSandbox(running("web", THEIRS), timeout=0.5))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(two.theirs.runtime.cancelled.wait(), 5)


async def test_a_call_that_is_given_up_is_given_up_in_the_delegate(two):
    two.theirs.runtime.hang.add("run_pod_sandbox")
    call = two.ours.runtime_stub.RunPodSandbox(running("web", THEIRS))
    await asyncio.wait_for(two.theirs.runtime.begun.wait(), 5)
    call.cancel()
    await asyncio.wait_for(two.theirs.runtime.cancelled.wait(), 5)


async def pull(two, **request):
    two.ours.images.in_registries[APP] = two.theirs.images.in_registries[APP] = IMAGE
    wire = api.PullImageRequest(image=api.ImageSpec(image=APP), **request)
    assert (await two.ours.image_stub.PullImage(wire)).image_ref == IMAGE.id
    return [who for who in ("ours", "theirs") if getattr(two, who).images.held]


async def test_an_image_for_no_pod_is_pulled_by_us(two):
    assert await pull(two) == ["ours"]


async def test_an_image_is_pulled_by_the_runtime_whose_pod_it_is_for(two):
    assert await pull(two, sandbox_config=pod("host", network=NODE)) == ["theirs"]


async def test_an_image_is_pulled_where_the_pods_sandbox_is(two):
    await two.run("theirs", THEIRS)
    assert await pull(two, sandbox_config=pod("theirs")) == ["theirs"]


async def test_an_image_of_a_machine_that_asks_for_the_hosts_network_is_pulled_by_us(two):
    await two.run("classed", "small", network=NODE)
    assert await pull(two, sandbox_config=pod("classed", network=NODE)) == ["ours"]


async def test_credentials_go_to_the_runtime_that_pulls_alone(two):
    auth = api.AuthConfig(username="me", password="secret")
    await pull(two, sandbox_config=pod("host", network=NODE), auth=auth)
    assert [auth.password for auth in two.theirs.images.auths] == ["secret"]
    assert not two.ours.images.auths


async def test_an_image_that_both_hold_is_listed_once_with_all_its_names(two):
    two.ours.images.held[IMAGE.id] = IMAGE
    two.theirs.images.held[IMAGE.id] = replace(IMAGE, repo_tags=(*IMAGE.repo_tags, "mirror.example/app:1"))
    (image,) = (await two.ours.image_stub.ListImages(api.ListImagesRequest())).images
    assert list(image.repo_tags) == [APP, "mirror.example/app:1"]
    assert list(image.repo_digests) == list(IMAGE.repo_digests)


async def test_an_image_is_known_where_either_holds_it_and_removed_from_both(two):
    assert await two.image() is None
    two.theirs.images.held[IMAGE.id] = IMAGE
    assert (await two.image()).id == IMAGE.id
    two.ours.images.held[IMAGE.id] = IMAGE
    await two.ours.image_stub.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=APP)))
    assert not two.ours.images.held
    assert not two.theirs.images.held


async def test_the_image_of_a_named_handler_is_asked_of_its_runtime(two):
    two.ours.images.held[IMAGE.id] = IMAGE
    spec = api.ImageSpec(image=APP, runtime_handler=THEIRS)
    assert not (await two.ours.image_stub.ImageStatus(api.ImageStatusRequest(image=spec))).HasField("image")


@pytest.mark.parametrize("name", [APP, IMAGE.id])
@pytest.mark.parametrize(("holder", "handler"), [("ours", THEIRS), ("theirs", "")])
async def test_a_container_gets_an_image_that_only_the_other_runtime_holds(two, holder, handler, name):
    maker = two.theirs if holder == "ours" else two.ours
    getattr(two, holder).images.held[IMAGE.id] = IMAGE
    maker.images.in_registries |= {APP: IMAGE, IMAGE.repo_digests[0]: IMAGE}
    sandbox = await two.run("web", handler)
    config = api.ContainerConfig(metadata=api.ContainerMetadata(name="main"), image=api.ImageSpec(image=name))
    request = api.CreateContainerRequest(pod_sandbox_id=sandbox, config=config)
    assert (await two.ours.runtime_stub.CreateContainer(request)).container_id in maker.runtime.containers


async def test_a_container_whose_image_nobody_holds_is_refused(two):
    sandbox = await two.run("theirs", THEIRS)
    config = api.ContainerConfig(metadata=api.ContainerMetadata(name="main"), image=api.ImageSpec(image=APP))
    request = api.CreateContainerRequest(pod_sandbox_id=sandbox, config=config)
    code, details = await failure(two.ours.runtime_stub.CreateContainer(request))
    assert code == grpc.StatusCode.NOT_FOUND
    assert APP in details


async def test_file_systems_of_both_are_told(two):
    answer = await two.ours.image_stub.ImageFsInfo(api.ImageFsInfoRequest())
    assert len(answer.image_filesystems) == len(answer.container_filesystems) == 2


async def test_the_handlers_are_those_of_machines_and_those_of_the_delegate(two):
    status = await two.ours.runtime_stub.Status(api.StatusRequest())
    assert [handler.name for handler in status.runtime_handlers] == ["", "small", "vmsandbox", THEIRS]


async def test_the_network_is_ready_when_it_is_for_both(two):
    two.theirs.network_errors.append(FailedPrecondition("no CNI configuration"))
    status = (await two.ours.runtime_stub.Status(api.StatusRequest())).status
    assert {condition.type: condition.status for condition in status.conditions} == {
        "RuntimeReady": True,
        "NetworkReady": False,
    }
    assert "no CNI configuration" in status.conditions[1].message


async def test_the_cgroup_driver_is_the_delegates(two):
    answer = await two.ours.runtime_stub.RuntimeConfig(api.RuntimeConfigRequest())
    assert answer.linux.cgroup_driver == api.CGROUPFS


async def test_a_node_whose_delegate_is_away_says_so_and_is_not_ready(two):
    await two.end_delegate.aclose()
    status = (await two.ours.runtime_stub.Status(api.StatusRequest())).status
    condition = next(condition for condition in status.conditions if condition.type == "RuntimeReady")
    assert (condition.status, condition.reason) == (False, "DelegateNotReady")
    assert "does not answer at" in condition.message
    assert "delegate.socket" in condition.message


async def test_pods_are_not_listed_without_those_of_a_delegate_that_is_away(two):
    await two.run("machine")
    await two.end_delegate.aclose()
    code, details = await failure(two.ours.runtime_stub.ListPodSandbox(api.ListPodSandboxRequest()))
    assert code == grpc.StatusCode.UNAVAILABLE
    assert details.startswith("the delegate runtime does not answer at")


async def test_machines_go_on_while_the_delegate_is_away(two):
    await two.end_delegate.aclose()
    container = await two.ours.container(await two.run("machine"))
    await two.ours.runtime_stub.StopContainer(api.StopContainerRequest(container_id=container))
    assert two.ours.runtime.containers[container].exit_code == 137


async def test_a_delegate_that_comes_back_is_found_again(two, tmp_path):
    await two.end_delegate.aclose()
    await failure(two.ours.runtime_stub.ListPodSandbox(api.ListPodSandboxRequest()))
    (tmp_path / "again").mkdir()
    async with served(tmp_path / "again") as again, asyncio.timeout(10):
        two.theirs.path.symlink_to(again.path)
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await two.ours.runtime_stub.ListPodSandbox(api.ListPodSandboxRequest())
                break
            await asyncio.sleep(0.1)


async def test_events_of_both_come_in_one_stream(two):
    events = two.ours.runtime_stub.GetContainerEvents(api.GetEventsRequest())
    await events.initial_metadata()
    await until(lambda: two.theirs.runtime.listeners)
    ids = [await two.run("theirs", THEIRS), await two.run("machine")]
    assert {(await events.read()).container_id for _ in ids} == set(ids)
    events.cancel()


async def test_the_stream_of_events_ends_with_the_delegate(two):
    events = two.ours.runtime_stub.GetContainerEvents(api.GetEventsRequest())
    await events.initial_metadata()
    await until(lambda: two.theirs.runtime.listeners)
    await two.end_delegate.aclose()
    code, _ = await failure(events.read())
    assert code == grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def no_events(two, monkeypatch):
    """The delegate gives none, as containerd 1.6."""

    def none():
        raise Unimplemented("no events")

    monkeypatch.setattr(two.theirs.runtime, "events", none)


@pytest.mark.usefixtures("no_events")
async def test_there_are_no_events_at_all_where_the_delegate_gives_none(two):
    code, _ = await failure(two.ours.runtime_stub.GetContainerEvents(api.GetEventsRequest()).read())
    assert code == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.usefixtures("no_events")
async def test_the_end_of_a_container_is_seen_without_events(two):
    two.theirs.images.held[IMAGE.id] = IMAGE
    container = await two.ours.container(await two.run("theirs", THEIRS))
    waiting = asyncio.create_task(two.ours.client.wait_container(container))
    await asyncio.sleep(0)
    two.theirs.runtime.end(container, 7)
    assert (await asyncio.wait_for(waiting, 5)).exit_code == 7


async def test_run_makes_a_machine_also_where_pods_without_runtime_class_are_the_delegates(two, tmp_path):
    async with served(tmp_path / "third", None, DelegateConfig(two.theirs.path, ("",)), first_id=0x2000) as third:
        third.images.in_registries[APP] = IMAGE
        runtime = DaemonRuntime(third.client)
        assert await runtime.find_image(APP) is None
        assert (await runtime.pull_image(APP, None, lambda _: None)).id == IMAGE.id
        metadata = PodSandboxMetadata("web", "uid", "default")
        assert await runtime.run_pod_sandbox(PodSandboxConfig(metadata)) in third.runtime.sandboxes
    assert not two.theirs.images.held


async def test_check_says_what_a_delegate_runs(two):
    config = DelegateConfig(two.theirs.path, ("", THEIRS), (HostNamespace.PID, HostNamespace.IPC))
    (finding,) = await look_at_delegate(config)
    assert finding.ok
    assert finding.message.startswith("vmsandbox ")
    assert "pods without RuntimeClass, RuntimeClass handler runc" in finding.message
    assert finding.message.endswith("in the host's pid/ipc")


async def test_check_says_that_a_delegate_is_away(tmp_path):
    (finding,) = await look_at_delegate(DelegateConfig(tmp_path / "absent.sock"))
    assert not finding.ok
    assert f"does not answer at {tmp_path}/absent.sock" in finding.message
    assert "start it" in finding.hint


async def test_check_has_nothing_to_say_where_there_is_no_delegate():
    assert await look_at_delegate(DelegateConfig()) == ()


async def test_interleaved_streams_end_when_all_have_ended_and_lose_nothing():
    async def give(*items):
        for item in items:
            await asyncio.sleep(0)
            yield item

    assert sorted([item async for item in interleaved(give(1, 3, 5), give(), give(2, 4))]) == [1, 2, 3, 4, 5]


async def test_interleaved_streams_fail_with_the_first_that_fails():
    async def fails():
        yield 1
        raise FailedPrecondition("no more")

    async def waits():
        await asyncio.Event().wait()
        yield 2

    sources = fails(), waits()
    with pytest.raises(FailedPrecondition, match="no more"):
        async for _ in interleaved(*sources):
            pass
    for source in sources:
        await source.aclose()
