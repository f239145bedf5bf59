"""The calls on containers: their states, their output and commands, and what they ask for."""

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest

from tests.fakes.agent import Refusal
from tests.fakes.host import IMAGE, MIB, agent_of, app, made, pod, running, tasks_of_sandboxes
from tests.fakes.processes import FakeProcess
from tests.support.cancelling import ticks
from tests.support.waiting import hanging, until
from vmsandbox.errors import (
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from vmsandbox.model import (
    ContainerEventKind,
    ContainerSecurity,
    ContainerState,
    Device,
    Mount,
    NamespaceMode,
    Namespaces,
    Resources,
    SandboxState,
    SecurityProfile,
)
from vmsandbox.protocol.messages import CreateContainer, MakeTmpfs, Stream, UpdateResources
from vmsandbox.sandbox.streams import output_task
from vmsandbox.service import RuntimeService
from vmsandbox.state import ContainerRecord

CREATED, RUNNING, EXITED = ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED


async def test_a_container_that_ended_is_told_although_its_output_stands_still(service, world, sandbox, monkeypatch):
    monkeypatch.setattr(output_task, "STILL", 0.05)
    agent = world.transports.agents[sandbox]
    whole, still = agent._open_stream, {Stream.STDOUT, Stream.STDERR}

    async def still_at_first(request):
        if request.stream not in still:
            return await whole(request)
        still.remove(request.stream)
        return agent._offer(lambda connection: asyncio.sleep(3600))

    agent._open_stream = still_at_first
    container = await service.create_container(sandbox, app())
    await service.start_container(container)
    await until(lambda: not still)
    await asyncio.wait_for(service.stop_container(container, 10), 10)
    ended = await asyncio.wait_for(service.wait_container(container), 10)
    assert (ended.state, ended.exit_code) == (EXITED, 128 + signal.SIGTERM)


async def test_a_container_goes_through_its_states(service, world, sandbox):
    container = await service.create_container(sandbox, app())
    created = service.container_status(container)
    assert (created.state, created.image_id, created.user.uid, created.started_at) == (CREATED, IMAGE.id, 0, 0)
    await service.start_container(container)
    assert service.container_status(container).state is RUNNING
    await service.stop_container(container, 10)
    ended = service.container_status(container)
    assert (ended.state, ended.exit_code, ended.reason) == (EXITED, 128 + signal.SIGTERM, "Error")
    assert ended.finished_at >= ended.started_at > 0
    await service.stop_container(container, 10)
    await service.remove_container(container)
    await service.remove_container(container)
    assert service.list_containers() == ()
    assert world.images.holders == {}


async def test_a_container_that_ends_well_is_completed(service, world, sandbox):
    async def end(_: FakeProcess) -> int:
        return 0

    agent_of(world, sandbox).programs["run",] = end
    ended = await service.wait_container(await running(service, sandbox))
    assert (ended.exit_code, ended.reason) == (0, "Completed")


async def test_a_container_starts_once(service, sandbox):
    container = await service.create_container(sandbox, app())
    done = await asyncio.gather(
        service.start_container(container), service.start_container(container), return_exceptions=True
    )
    assert done[0] is None
    assert isinstance(done[1], FailedPrecondition)
    await service.stop_container(container, 0)
    with pytest.raises(FailedPrecondition, match="exited"):
        await service.start_container(container)


async def test_a_start_that_is_refused_ends_the_container_with_the_reason(service, world, sandbox):
    async def refuse(_: object) -> None:
        raise Refusal("failed_precondition", "crun start: no such program")

    agent_of(world, sandbox).before["start_container"] = refuse
    container = await service.create_container(sandbox, app())
    with pytest.raises(FailedPrecondition, match="no such program"):
        await service.start_container(container)
    ended = service.container_status(container)
    assert (ended.state, ended.exit_code, ended.reason) == (EXITED, 128, "StartError")
    assert "no such program" in ended.message
    await service.remove_container(container)


async def test_a_start_whose_connection_was_lost_after_it_was_done_succeeds(service, world, sandbox):
    agent = agent_of(world, sandbox)
    container = await service.create_container(sandbox, app())
    carry_out = agent._start_container

    async def start_and_hang_up(request):
        await carry_out(request)
        agent._spawn(agent.hang_up())
        await asyncio.Event().wait()

    agent._start_container = start_and_hang_up
    await service.start_container(container)
    assert service.container_status(container).state is RUNNING


async def test_a_start_goes_on_when_its_caller_gives_up(service, world, sandbox):
    reached, proceed = asyncio.Event(), asyncio.Event()

    async def slow(_: object) -> None:
        reached.set()
        await proceed.wait()

    agent_of(world, sandbox).before["start_container"] = slow
    container = await service.create_container(sandbox, app())
    call = asyncio.create_task(service.start_container(container))
    await reached.wait()
    call.cancel()
    proceed.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert service.container_status(container).state is RUNNING


async def test_two_containers_of_one_name_at_once_are_one(service, sandbox):
    first, second = await asyncio.gather(
        service.create_container(sandbox, app()), service.create_container(sandbox, app()), return_exceptions=True
    )
    assert isinstance(second, AlreadyExists)
    assert [status.id for status in service.list_containers()] == [first]
    await service.create_container(sandbox, app(attempt=1))


async def test_a_creation_that_is_given_up_leaves_nothing_and_is_listed_by_nobody(service, world, state, sandbox):
    reached, hang = hanging()
    agent_of(world, sandbox).before["create_container"] = hang
    call = asyncio.create_task(service.create_container(sandbox, app()))
    await reached.wait()
    assert service.list_containers() == ()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (state.all(ContainerRecord), world.images.holders) == ((), {})
    assert world.hypervisor.disks[f"vmsandbox-{sandbox}"] == {}
    agent_of(world, sandbox).before.clear()
    await service.create_container(sandbox, app())


@pytest.mark.parametrize("turns", range(8))
async def test_a_service_that_is_cancelled_while_it_lets_go_lets_go_of_all(world, state, turns):
    leaving = asyncio.Event()

    async def serve() -> None:
        async with RuntimeService(world.host(state)).running() as service:
            for name in ("one", "two", "three"):
                await service.run_pod_sandbox(pod(name))
            leaving.set()

    serving = asyncio.create_task(serve())
    await leaving.wait()
    await ticks(turns)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert tasks_of_sandboxes() == []


async def test_stopping_a_sandbox_while_a_container_is_created_ends_both(service, world, sandbox):
    reached, hang = hanging()
    agent_of(world, sandbox).before["create_container"] = hang
    call = asyncio.create_task(service.create_container(sandbox, app()))
    await reached.wait()
    await service.stop_pod_sandbox(sandbox)
    with pytest.raises(Unavailable):
        await call
    assert (world.left(), service.list_containers()) == ([], ())


async def test_containers_of_one_image_share_its_disk_until_the_last_is_removed(service, world, sandbox):
    first = await service.create_container(sandbox, app("first"))
    second = await service.create_container(sandbox, app("second"))
    disks = world.hypervisor.disks[f"vmsandbox-{sandbox}"]
    assert len(disks) == 1
    await service.remove_container(first)
    assert len(disks) == 1
    await service.remove_container(second)
    assert disks == {}


async def test_a_container_that_ignores_its_stop_signal_is_killed(service, world, sandbox):
    async def stubborn(process: FakeProcess) -> int:
        await asyncio.Event().wait()
        return 0

    agent_of(world, sandbox).programs["run",] = stubborn
    container = await running(service, sandbox)
    await service.stop_container(container, 0.01)
    assert service.container_status(container).exit_code == 137


async def test_a_console_is_there_as_long_as_the_machine(service, sandbox):
    assert await service.read_console(sandbox, 0) == ("", 0)
    await service.stop_pod_sandbox(sandbox)
    with pytest.raises(FailedPrecondition, match=r"^pod default/\w+ \(\w+\) has no machine any more"):
        await service.read_console(sandbox, 0)
    with pytest.raises(NotFound):
        await service.read_console("nobody", 0)


async def test_a_signal_reaches_a_containers_first_process(service, world, sandbox):
    container = await service.create_container(sandbox, app())
    with pytest.raises(FailedPrecondition, match="send a signal to"):
        await service.signal_container(container, "USR1")
    await service.start_container(container)
    for wrong in ("NOPE", "0", "99"):
        with pytest.raises(InvalidArgument, match="there is no signal"):
            await service.signal_container(container, wrong)
    await service.signal_container(container, "usr1")
    assert (await service.wait_container(container)).exit_code == 128 + signal.SIGUSR1


async def test_the_containers_of_a_pod_are_asked_to_end_together_and_none_is_started_meanwhile(service, world, sandbox):
    asked, allowed = [], asyncio.Event()

    async def slow(process: FakeProcess) -> int:
        asked.append(await process.signals.get())
        await allowed.wait()
        return 0

    agent_of(world, sandbox).programs["run",] = slow
    first, second = await running(service, sandbox), await running(service, sandbox, name="second")
    waiting = await service.create_container(sandbox, app("waiting"))
    ending = asyncio.create_task(service.end_pod(sandbox, 30))
    await until(lambda: len(asked) == 2)
    with pytest.raises(Cancelled, match="is being stopped"):
        await service.create_container(sandbox, app("again"))
    assert (await service.wait_container(waiting)).state is EXITED
    allowed.set()
    await ending
    assert [service.container_status(each).exit_code for each in (first, second)] == [0, 0]
    assert service.pod_sandbox_status(sandbox).state is SandboxState.NOTREADY
    assert world.left() == []
    await service.end_pod(sandbox, 30)


async def test_a_guest_that_hangs_is_waited_for_no_longer_than_its_containers_may_take(
    service, world, sandbox, monkeypatch
):
    monkeypatch.setattr("vmsandbox.sandbox.lifecycle.ending._PATIENCE", 0.02)
    await running(service, sandbox)
    waiting = await service.create_container(sandbox, app("waiting"))
    agent = agent_of(world, sandbox)
    asked = []

    async def hang(request: object) -> None:
        asked.append(request.METHOD)
        await asyncio.Event().wait()

    agent.before.update(dict.fromkeys(("signal_container", "list_containers", "shutdown"), hang))
    await service.end_pod(sandbox, 0.02)
    assert asked == ["signal_container", "signal_container", "list_containers"]
    assert service.container_status(waiting).reason == "SandboxDied"
    assert (service.pod_sandbox_status(sandbox).state, world.left()) == (SandboxState.NOTREADY, [])


async def test_a_pod_whose_end_is_given_up_goes_on(service, world, sandbox):
    async def stubborn(process: FakeProcess) -> int:
        await process.killed.wait()
        return 0

    agent_of(world, sandbox).programs["run",] = stubborn
    container = await running(service, sandbox)
    ending = asyncio.create_task(service.end_pod(sandbox, 30))
    await ticks(50)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert service.container_status(container).state is RUNNING
    await running(service, sandbox, name="another")


async def test_a_container_is_told_to_stop_with_its_own_signal(service, world, sandbox):
    container = await running(service, sandbox, stop_signal="SIGUSR1")
    await service.stop_container(container, 10)
    assert service.container_status(container).exit_code == 128 + signal.SIGUSR1


async def test_a_container_that_was_only_created_can_be_stopped_and_removed(service, sandbox):
    container = await service.create_container(sandbox, app())
    await service.remove_container(container)
    assert service.list_containers() == ()


async def test_updating_changes_what_is_set_and_keeps_the_rest(service, world, sandbox):
    container = await running(service, sandbox, resources=Resources(cpu_shares=512, memory_limit=64 * MIB))
    await service.update_container_resources(container, Resources(memory_limit=128 * MIB))
    wanted = service.container_status(container).config.resources
    assert (wanted.cpu_shares, wanted.memory_limit) == (512, 128 * MIB)
    sent = agent_of(world, sandbox).requests[-1].resources
    assert (sent["cpu"], sent["memory"]["limit"]) == ({"shares": 512}, 128 * MIB)


async def test_the_cpus_that_a_container_may_use_are_told_when_it_is_made_and_with_every_update(
    service, world, sandbox
):
    container = await running(service, sandbox, resources=Resources(cpuset_cpus="2-3"))
    await service.update_container_resources(container, Resources(cpu_shares=5))
    await service.update_container_resources(container, Resources(cpuset_cpus="7"))
    requests = agent_of(world, sandbox).requests
    told = [each.cpus for each in requests if isinstance(each, CreateContainer | UpdateResources)]
    assert told == ["2-3", "2-3", "7"]


async def test_an_update_to_what_cannot_be_is_refused_and_changes_nothing(service, world, sandbox):
    container = await running(service, sandbox, resources=Resources(memory_limit=64 * MIB))
    for absurd in (Resources(memory_limit=-64 * MIB), Resources(cpu_quota=2**60), Resources(oom_score_adj=-5000)):
        with pytest.raises(InvalidArgument, match=r"container app: .* is not valid"):
            await service.update_container_resources(container, absurd)
    assert service.container_status(container).config.resources == Resources(memory_limit=64 * MIB)
    assert not any(isinstance(request, UpdateResources) for request in agent_of(world, sandbox).requests)


async def test_output_is_in_the_log_when_the_container_has_ended(service, world, tmp_path):
    async def talk(process: FakeProcess) -> int:
        await process.write(b"hello\n")
        return 0

    sandbox = await service.run_pod_sandbox(pod(log_directory=str(tmp_path / "logs")))
    agent_of(world, sandbox).programs["run",] = talk
    ended = await service.wait_container(await running(service, sandbox, log_path="app/0.log"))
    assert ended.log_path == str(tmp_path / "logs/app/0.log")
    assert Path(ended.log_path).read_text().endswith(" stdout F hello\n")


async def test_a_link_as_the_log_directory_of_a_pod_is_not_followed(service, tmp_path):
    """A pod that may write below /var/log/pods made `etc/app/0.log` on the host, with what it liked in it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "logs").symlink_to("elsewhere")
    sandbox = await service.run_pod_sandbox(pod(log_directory=str(tmp_path / "logs")))
    with pytest.raises(InvalidArgument, match="logs is not a directory, or is a link"):
        await running(service, sandbox, log_path="app/0.log")
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_command_runs_to_its_end_or_is_killed_at_its_deadline(service, world, sandbox):
    async def talk(process: FakeProcess) -> int:
        await process.write(b"out")
        return 3

    agent_of(world, sandbox).programs["talk",] = talk
    container = await running(service, sandbox)
    result = await service.exec_sync(container, ("talk",), 10)
    assert (result.stdout, result.exit_code) == (b"out", 3)
    with pytest.raises(DeadlineExceeded):
        await service.exec_sync(container, ("sleep",), 0.05)


async def test_a_long_call_on_one_pod_holds_up_no_other(service, world, sandbox):
    _, hang = hanging()
    agent_of(world, sandbox).before["create_container"] = hang
    call = asyncio.create_task(service.create_container(sandbox, app()))
    other = await service.run_pod_sandbox(pod("other"))
    await running(service, other)
    await service.remove_pod_sandbox(other)
    assert not call.done()
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call


async def test_events_tell_the_lives_of_containers(service, sandbox):
    events = service.events()
    container = await running(service, sandbox)
    await service.stop_container(container, 0)
    await service.remove_container(container)
    await service.remove_pod_sandbox(sandbox)
    seen = []
    async with contextlib.aclosing(events):
        async for event in events:
            seen.append((event.container_id == container, event.kind))
            if len(seen) == 6:
                break
    kinds = ContainerEventKind
    assert seen == [
        *((True, kind) for kind in (kinds.CREATED, kinds.STARTED, kinds.STOPPED, kinds.DELETED)),
        (False, kinds.STOPPED),
        (False, kinds.DELETED),
    ]


async def test_a_full_disk_holds_back_only_the_acknowledgement_of_an_end(service, world, state, sandbox, monkeypatch):
    container = await running(service, sandbox)
    put = state.put

    def full(key: str, record: object) -> None:
        raise ResourceExhausted("the disk is full")

    monkeypatch.setattr(state, "put", full)
    await service.stop_container(container, 10)
    agent = agent_of(world, sandbox)
    assert (service.container_status(container).state, len(agent.events)) == (EXITED, 1)
    with pytest.raises(ResourceExhausted):
        await service.create_container(sandbox, app("other"))
    monkeypatch.setattr(state, "put", put)
    await until(lambda: not agent.events)
    assert state.all(ContainerRecord)[0].state is EXITED


@pytest.mark.parametrize(
    ("config", "kind", "reason"),
    [
        (app(security=ContainerSecurity(privileged=True)), InvalidArgument, "is privileged, and its pod is not"),
        (
            app(mounts=(Mount("/data", image=IMAGE.id, image_sub_path="a/..", readonly=True),)),
            InvalidArgument,
            "leads out of the image volume",
        ),
        (app(resources=Resources(memory_limit=-1)), InvalidArgument, "container app: memory_limit_in_bytes -1"),
        (app(resources=Resources(cpu_shares=2**62)), InvalidArgument, "container app: cpu_shares"),
        (app(cdi_devices=("vendor.com/gpu=0",)), Unimplemented, "CDI devices vendor.com/gpu=0"),
        (app(resources=Resources(hugepage_limits={"2MB": 4 * MIB})), Unimplemented, "no huge pages"),
        (
            app(security=ContainerSecurity(apparmor=SecurityProfile("localhost", "tight"))),
            Unimplemented,
            "AppArmor profile tight",
        ),
        (app(security=ContainerSecurity(add_capabilities=("FLY",))), InvalidArgument, "CAP_FLY"),
        (app(security=ContainerSecurity(run_as_group=5)), InvalidArgument, "run_as_group is set without"),
        (
            app(security=ContainerSecurity(seccomp=SecurityProfile("localhost", "/no/profile.json"))),
            InvalidArgument,
            "profile.json cannot be read",
        ),
        (
            app(
                security=ContainerSecurity(
                    namespaces=Namespaces(pid=NamespaceMode.TARGET, target_id="nobody"),
                )
            ),
            NotFound,
            "no container nobody",
        ),
        (app(mounts=(Mount("data", "/srv"),)), InvalidArgument, "not absolute"),
        (app(mounts=(Mount("/data", image=IMAGE.id),)), InvalidArgument, "has to be read-only"),
        (app(mounts=(Mount("/data", image="other", readonly=True),)), NotFound, "image other is not in the store"),
        (
            app(mounts=(Mount("/data", "/srv", recursive_read_only=True),)),
            InvalidArgument,
            "readonly and private",
        ),
    ],
)
async def test_what_a_guest_cannot_give_is_refused_and_leaves_nothing(service, world, sandbox, config, kind, reason):
    with pytest.raises(kind, match=reason):
        await service.create_container(sandbox, config)
    assert (service.list_containers(), world.images.holders) == ((), {})


async def test_processes_are_shared_as_the_cri_says(service, world, sandbox):
    shared = ContainerSecurity(namespaces=Namespaces(pid=NamespaceMode.POD))
    first = await service.create_container(sandbox, app("first", security=shared))
    assert made(world, sandbox).pid_namespace == "pod"
    target = ContainerSecurity(namespaces=Namespaces(pid=NamespaceMode.TARGET, target_id=first))
    await service.create_container(sandbox, app("second", security=target))
    assert made(world, sandbox).pid_namespace == first


async def test_devices_are_the_agents_to_find(service, world, sandbox):
    await service.create_container(sandbox, app(devices=(Device("/dev/fuse", "/dev/fuse", "rw"),)))
    assert [(d.path, d.source, d.permissions) for d in made(world, sandbox).devices] == [
        ("/dev/fuse", "/dev/fuse", "rw")
    ]
    privileged = await service.run_pod_sandbox(pod("privileged", privileged=True))
    await service.create_container(privileged, app(security=ContainerSecurity(privileged=True)))
    assert made(world, privileged).all_devices


async def test_an_image_volume_is_plugged_in_and_mounted_read_only(service, world, sandbox):
    other = "sha256:" + "2" * 64
    world.images.held[other] = type(IMAGE)(other)
    mount = Mount("/models", image=other, image_sub_path="a/./b", readonly=True)
    container = await service.create_container(sandbox, app(mounts=(mount,)))
    mounted = made(world, sandbox).spec["mounts"][-1]
    assert mounted["source"] == "/run/vmsandbox/images/serial-22222/a/b"
    assert "ro" in mounted["options"]
    assert len(world.hypervisor.disks[f"vmsandbox-{sandbox}"]) == 2
    await service.remove_container(container)
    assert world.images.holders == {}


async def test_a_volume_in_memory_lives_in_the_guest(service, world, sandbox):
    await service.create_container(sandbox, app(mounts=(Mount("/cache", tmpfs="cache", tmpfs_size=MIB),)))
    assert MakeTmpfs("cache", MIB) in agent_of(world, sandbox).requests
    assert made(world, sandbox).spec["mounts"][-1]["source"] == "/run/vmsandbox/tmpfs/cache"


async def test_the_default_seccomp_profile_is_in_the_spec(service, world, sandbox):
    security = ContainerSecurity(seccomp=SecurityProfile("runtime_default"))
    await service.create_container(sandbox, app(security=security))
    assert made(world, sandbox).spec["linux"]["seccomp"]["syscalls"]
