"""The runtime service as a state machine, on a host of fakes."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from tests.fakes.agent import Refusal
from tests.fakes.host import IMAGE, MIB, FakeWorld, agent_of, app, hang_at, made, pod, running, tasks_of_sandboxes
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
    VmsandboxError,
)
from vmsandbox.guest.transport.connection import TransportBroken
from vmsandbox.model import (
    ContainerEventKind,
    ContainerSecurity,
    ContainerState,
    Device,
    IdMapping,
    Mount,
    NamespaceMode,
    Namespaces,
    Resources,
    SandboxState,
    SecurityProfile,
    UserNamespace,
)
from vmsandbox.process import usage_of
from vmsandbox.protocol.messages import CreateContainer, MakeTmpfs, Stream, UpdateResources
from vmsandbox.sandbox.containers import figures
from vmsandbox.sandbox.streams import output_task
from vmsandbox.service import RuntimeService
from vmsandbox.state import ContainerRecord, SandboxRecord, State

CREATED, RUNNING, EXITED = ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED


@pytest.fixture
def state(tmp_path: Path):
    with State(tmp_path / "state.db") as state:
        yield state


@pytest.fixture
async def service(world: FakeWorld, state: State) -> AsyncIterator[RuntimeService]:
    async with RuntimeService(world.host(state, memory_budget=1024 * MIB)).running() as service:
        yield service


@pytest.fixture
async def sandbox(service: RuntimeService) -> str:
    return await service.run_pod_sandbox(pod())


# Sandboxes


async def test_a_sandbox_is_ready_with_its_address_and_kernel(service, sandbox):
    status = service.pod_sandbox_status(sandbox)
    assert (status.state, status.ips, status.kernel) == (SandboxState.READY, ("10.0.0.2",), "6.12.0")


async def test_a_stopped_sandbox_has_given_everything_back_and_is_still_known(service, world, sandbox):
    await service.stop_pod_sandbox(sandbox)
    assert world.left() == []
    assert service.pod_sandbox_status(sandbox).state is SandboxState.NOTREADY
    await service.stop_pod_sandbox(sandbox)


async def test_a_removed_sandbox_is_forgotten_with_its_containers(service, world, state, sandbox):
    await running(service, sandbox)
    await service.remove_pod_sandbox(sandbox)
    await service.remove_pod_sandbox(sandbox)
    assert (service.list_pod_sandboxes(), service.list_containers(), world.left()) == ((), (), [])
    assert (state.all(SandboxRecord), state.all(ContainerRecord)) == ((), ())


async def test_stopping_and_removing_what_nobody_knows_succeeds(service):
    await service.stop_pod_sandbox("nobody")
    await service.remove_pod_sandbox("nobody")
    await service.stop_container("nobody", 1)
    await service.remove_container("nobody")


async def test_asking_for_what_nobody_knows_says_not_found(service):
    for call in (lambda: service.pod_sandbox_status("nobody"), lambda: service.container_status("nobody")):
        with pytest.raises(NotFound, match="nobody"):
            call()
    for work in (service.start_container("nobody"), service.create_container("nobody", app())):
        with pytest.raises(NotFound, match="nobody"):
            await work


async def test_a_sandbox_is_measured_by_its_host(service, sandbox):
    usage = await service.measure_pod_sandbox(sandbox)
    assert (usage.machine.memory, usage.machine.working_set) == (96 * MIB, 48 * MIB)
    assert (usage.interface.name, usage.interface.rx_bytes, usage.interface.tx_bytes) == ("eth0", 3000, 2000)
    later = await service.measure_pod_sandbox(sandbox)
    assert later.machine.cpu > usage.machine.cpu


async def test_the_helpers_of_a_machine_count_as_it_does(service, world, sandbox, monkeypatch):
    before = await service.measure_pod_sandbox(sandbox)
    gone, helper = 2**22, os.getpid()

    async def processes(_: str) -> list[int]:
        return [helper, gone]

    monkeypatch.setattr(world.cgroups, "processes", processes)
    after = await service.measure_pod_sandbox(sandbox)
    own = usage_of(helper)
    added = after.machine.working_set - before.machine.working_set
    assert 0 < own.anonymous // 2 < added < 2 * own.anonymous
    assert after.machine.memory - before.machine.memory > added
    assert after.machine.page_faults > before.machine.page_faults


async def test_a_sandbox_is_measured_though_its_guest_does_not_answer(service, world, sandbox, monkeypatch):
    monkeypatch.setattr(figures, "_FIRST_PATIENCE", 2.0)
    container = await running(service, sandbox)
    other = await service.run_pod_sandbox(pod("other"))
    answering = await running(service, other)
    _, agent_of(world, sandbox).before["measure_containers"] = hanging()
    assert (await service.measure_pod_sandboxes({sandbox, other})).keys() == {sandbox, other}
    measured = await service.measure_containers({sandbox, other})
    assert answering in measured and container not in measured


async def test_the_last_figures_of_a_guest_that_does_not_answer_are_told_for_a_while(
    service, world, sandbox, monkeypatch
):
    container = await running(service, sandbox)
    before = await service.measure_containers({sandbox})
    monkeypatch.setattr(figures, "_PATIENCE", 0.1)
    monkeypatch.setattr(figures, "_FIRST_PATIENCE", 0.1)
    _, agent_of(world, sandbox).before["measure_containers"] = hanging()
    later = await running(service, sandbox, name="later")
    assert await service.measure_containers({sandbox}) == before, "with the time at which they were measured"
    assert before.keys() == {container} and later not in before
    monkeypatch.setattr(figures, "_KEPT", 0.0)
    assert await service.measure_containers({sandbox}) == {}


async def test_only_sandboxes_that_are_ready_are_measured(service, sandbox):
    await service.stop_pod_sandbox(sandbox)
    with pytest.raises(FailedPrecondition, match=f"cannot measure sandbox {sandbox}: it is notready"):
        await service.measure_pod_sandbox(sandbox)
    assert await service.measure_pod_sandboxes({sandbox, "nobody"}) == {}
    with pytest.raises(NotFound, match="nobody"):
        await service.measure_pod_sandbox("nobody")


@pytest.mark.parametrize("lost", ["machine", "network"])
async def test_a_sandbox_that_cannot_be_measured_is_left_out_of_what_others_use(service, world, sandbox, lost, caplog):
    other = await service.run_pod_sandbox(pod("other"))
    if lost == "machine":
        world.hypervisor.unseen.add(f"vmsandbox-{sandbox}")
    else:
        world.network.connected.remove(world.network.networks[sandbox].tap)
    assert (await service.measure_pod_sandboxes({sandbox, other})).keys() == {other}
    assert f"sandbox {sandbox} is not measured" in caplog.text
    with pytest.raises(Unavailable, match=f"sandbox {sandbox} cannot be measured: there is no "):
        await service.measure_pod_sandbox(sandbox)


async def test_two_sandboxes_of_one_name_at_once_are_one(service, world):
    first, second = await asyncio.gather(
        service.run_pod_sandbox(pod()), service.run_pod_sandbox(pod()), return_exceptions=True
    )
    assert isinstance(second, AlreadyExists)
    assert first in str(second)
    assert len(world.hypervisor.machines) == 1
    assert await service.run_pod_sandbox(pod(attempt=1)) != first


async def test_the_name_of_a_sandbox_that_failed_is_free(service, world):
    world.hypervisor.create_error = ResourceExhausted("no memory")
    with pytest.raises(ResourceExhausted, match="pod default/web: no memory"):
        await service.run_pod_sandbox(pod())
    assert (world.left(), service.list_pod_sandboxes()) == ([], ())
    world.hypervisor.create_error = None
    await service.run_pod_sandbox(pod())


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (pod(namespaces=Namespaces(network=NamespaceMode.NODE)), "host's network"),
        (pod(resources=Resources(memory_limit=-5)), "pod default/web: memory_limit_in_bytes -5"),
        (pod(resources=Resources(cpu_period=100_000, cpu_quota=-7)), "pod default/web: cpu_quota -7"),
        (pod(overhead=Resources(memory_limit=-(2**63))), "pod default/web: overhead: memory_limit_in_bytes"),
        (pod(runtime_handler="nothing"), "no runtime handler 'nothing'"),
        (pod(namespaces=Namespaces(user=UserNamespace(NamespaceMode.CONTAINER))), "mode container is not valid"),
        (pod(namespaces=Namespaces(user=UserNamespace(NamespaceMode.POD))), "exactly one mapping"),
        (
            pod(namespaces=Namespaces(user=UserNamespace(NamespaceMode.POD, *[(IdMapping(1000, 1, 100),)] * 2))),
            "begins with id 0",
        ),
        (
            pod(
                namespaces=Namespaces(
                    pid=NamespaceMode.NODE, user=UserNamespace(NamespaceMode.POD, *[(IdMapping(1000, 0, 100),)] * 2)
                )
            ),
            "cannot share the processes",
        ),
    ],
)
async def test_a_pod_that_no_machine_can_be_is_refused_before_anything_is_made(service, world, config, reason):
    with pytest.raises(InvalidArgument, match=reason):
        await service.run_pod_sandbox(config)
    assert (world.left(), service.list_pod_sandboxes()) == ([], ())


async def test_a_pod_s_user_namespace_reaches_the_guest(service, world):
    mapping = (IdMapping(1000, 0, 100_000),)
    sandbox = await service.run_pod_sandbox(
        pod(namespaces=Namespaces(user=UserNamespace(NamespaceMode.POD, mapping, mapping)))
    )
    configured = next(r for r in agent_of(world, sandbox).requests if r.METHOD == "configure_guest")
    assert (configured.user_namespace.first_uid, configured.user_namespace.gids) == (1000, 100_000)


STEPS = ("network", "transport", "machine", "hello", "configure")


@pytest.mark.parametrize("step", STEPS)
async def test_a_boot_that_is_given_up_gives_everything_back(service, world, state, step):
    reached = hang_at(world, step)
    call = asyncio.create_task(service.run_pod_sandbox(pod()))
    await reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (world.left(), service.list_pod_sandboxes(), state.all(SandboxRecord)) == ([], (), ())


async def test_a_boot_that_is_given_up_just_when_it_succeeds_is_undone(service, world, state, monkeypatch):
    call = asyncio.create_task(service.run_pod_sandbox(pod()))
    events = []

    def cancel_at_the_first(event) -> None:
        if not events:
            call.cancel()
        events.append(event)

    monkeypatch.setattr(service._sandboxes.events, "publish", cancel_at_the_first)
    with pytest.raises(asyncio.CancelledError):
        await call
    assert events
    assert (world.left(), service.list_pod_sandboxes(), state.all(SandboxRecord)) == ([], (), ())


@pytest.mark.parametrize("step", STEPS)
async def test_stopping_a_sandbox_that_boots_ends_the_boot(service, world, state, step):
    reached = hang_at(world, step)
    call = asyncio.create_task(service.run_pod_sandbox(pod()))
    await reached.wait()
    (starting,) = service.list_pod_sandboxes()
    assert starting.state is SandboxState.STARTING
    await service.stop_pod_sandbox(starting.id)
    with pytest.raises(Cancelled, match="stopped before it was ready"):
        await call
    assert (world.left(), service.list_pod_sandboxes(), state.all(SandboxRecord)) == ([], (), ())


async def test_a_machine_that_dies_while_it_boots_ends_the_boot_with_the_reason(service, world):
    call = asyncio.create_task(service.run_pod_sandbox(pod()))
    for _ in range(2):
        reached = hang_at(world, "hello")
        await reached.wait()
        world.hypervisor.panic(next(iter(world.hypervisor.machines)))
    with pytest.raises(Unavailable, match=r"crashed \(panicked\)"):
        await call
    assert world.left() == []


@pytest.mark.parametrize("death", ["panic", "kill"])
async def test_a_machine_that_dies_before_its_agent_answers_is_booted_once_more_and_that_is_said(
    service, world, state, caplog, death
):
    reached = hang_at(world, "hello")
    call = asyncio.create_task(service.run_pod_sandbox(pod()))
    await reached.wait()
    world.transports.prepare = lambda agent: None
    getattr(world.hypervisor, death)(next(iter(world.hypervisor.machines)))
    sandbox = await call
    status, (record,) = service.pod_sandbox_status(sandbox), state.all(SandboxRecord)
    assert (status.state, status.boots, record.boots) == (SandboxState.READY, 2, 2)
    assert f"sandbox {sandbox} is booted once more" in caplog.text
    await service.remove_pod_sandbox(sandbox)
    assert world.left() == []


@pytest.mark.parametrize("step", ["hello", "configure"])
async def test_a_machine_that_was_destroyed_or_had_answered_is_not_booted_again(service, world, caplog, step):
    reached = hang_at(world, step)
    call = asyncio.create_task(service.run_pod_sandbox(pod()))
    await reached.wait()
    name = next(iter(world.hypervisor.machines))
    if step == "hello":
        await world.hypervisor.destroy(name)
    else:
        world.hypervisor.panic(name)
    with pytest.raises(Unavailable, match="the virtual machine ended"):
        await call
    assert "booted once more" not in caplog.text
    assert (world.left(), service.list_pod_sandboxes()) == ([], ())


async def test_a_way_to_the_guest_that_breaks_because_the_machine_ended_is_told_as_its_end(service, world):
    """Sockets of a dead QEMU close before the hypervisor tells that it is dead."""
    reached = hang_at(world, "configure")
    call = asyncio.create_task(service.run_pod_sandbox(pod()))
    await reached.wait()
    name = next(iter(world.hypervisor.machines))
    (way,), (agent,) = world.transports.ways.values(), world.transports.agents.values()
    way.broken = TransportBroken("the vsock daemon has died")
    await agent.hang_up()
    asyncio.get_running_loop().call_later(0.1, world.hypervisor.panic, name)
    with pytest.raises(Unavailable, match=r"the virtual machine ended: crashed \(panicked\)"):
        await call
    assert world.left() == []


async def test_a_machine_that_cannot_be_limited_does_not_stay(service, world):
    world.cgroups.confine_error = FailedPrecondition("no such cgroups")
    with pytest.raises(FailedPrecondition, match="no such cgroups"):
        await service.run_pod_sandbox(pod())
    assert (world.left(), service.list_pod_sandboxes()) == ([], ())


async def test_a_machine_that_the_kernel_killed_for_its_memory_says_so(service, world):
    sandbox_id = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox_id)
    world.cgroups.beyond_memory.add(sandbox_id)
    world.hypervisor.kill(f"vmsandbox-{sandbox_id}")
    ended = await service.wait_container(container)
    assert (ended.state, ended.exit_code, ended.reason) == (EXITED, 137, "OOMKilled")
    status = service.pod_sandbox_status(sandbox_id)
    assert status.state is SandboxState.NOTREADY
    assert "beyond the machine's memory limit" in status.message and status.message == ended.message


async def test_the_users_of_a_sandbox_are_nobody_elses_until_all_else_is_given_back(service, world):
    first = await service.run_pod_sandbox(pod("one"))
    account = world.hypervisor.machines[f"vmsandbox-{first}"].account
    world.network.tear_down_error = Unavailable("the plugin hangs")
    with pytest.raises(Unavailable):
        await service.stop_pod_sandbox(first)
    assert (await world.users.allocate(first)).qemu == account
    second = await service.run_pod_sandbox(pod("two"))
    assert world.hypervisor.machines[f"vmsandbox-{second}"].account.uid not in (account.uid, account.uid + 1)
    world.network.tear_down_error = None
    await service.stop_pod_sandbox(first)
    await service.remove_pod_sandbox(second)
    assert world.left() == []


async def test_what_a_failed_boot_cannot_give_back_is_kept_for_a_stop(service, world):
    world.hypervisor.create_error = ResourceExhausted("no memory")
    world.network.tear_down_error = Unavailable("the plugin hangs")
    with pytest.raises(ResourceExhausted):
        await service.run_pod_sandbox(pod())
    (kept,) = service.list_pod_sandboxes()
    assert (kept.state, "no memory" in kept.message) == (SandboxState.NOTREADY, True)
    world.network.tear_down_error = None
    await service.remove_pod_sandbox(kept.id)
    assert (world.left(), service.list_pod_sandboxes()) == ([], ())


async def test_a_stop_that_fails_can_be_repeated(service, world, sandbox):
    world.network.tear_down_error = Unavailable("the plugin hangs")
    with pytest.raises(Unavailable, match="giving back the resources of sandbox"):
        await service.stop_pod_sandbox(sandbox)
    assert service.pod_sandbox_status(sandbox).state is SandboxState.NOTREADY
    world.network.tear_down_error = None
    await service.stop_pod_sandbox(sandbox)
    assert world.left() == []


async def test_a_stop_goes_on_when_its_caller_gives_up(service, world, sandbox):
    await running(service, sandbox)
    call = asyncio.create_task(service.stop_pod_sandbox(sandbox))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert world.left() == []


async def test_the_death_of_a_machine_ends_its_containers_and_is_told(service, world, sandbox):
    container = await running(service, sandbox)
    world.hypervisor.kill(f"vmsandbox-{sandbox}")
    ended = await service.wait_container(container)
    assert (ended.state, ended.exit_code, ended.reason) == (EXITED, 255, "SandboxDied")
    assert "QEMU has died" in ended.message
    status = service.pod_sandbox_status(sandbox)
    assert (status.state, "QEMU has died" in status.message) == (SandboxState.NOTREADY, True)
    with pytest.raises(FailedPrecondition, match="notready"):
        await service.create_container(sandbox, app("other"))
    await service.remove_pod_sandbox(sandbox)
    assert world.left() == []


@pytest.mark.parametrize(("told_first", "daemon_dies"), [(True, False), (False, False), (False, True)])
@pytest.mark.parametrize(
    "call", ["create_container", "start_container", "signal_container", "update_resources", "exec"]
)
async def test_the_death_of_a_machine_fails_a_call_that_waits_for_its_guest_and_is_the_reason(
    service, world, sandbox, call, told_first, daemon_dies
):
    reached, hang = hanging()
    container = await service.create_container(sandbox, app("first"))
    if call != "start_container":
        await service.start_container(container)
    agent_of(world, sandbox).before[call] = hang
    calls: dict[str, Awaitable[object]] = {
        "create_container": service.create_container(sandbox, app("second")),
        "start_container": service.start_container(container),
        "signal_container": service.stop_container(container, 10),
        "update_resources": service.update_container_resources(container, Resources(cpu_shares=5)),
        "exec": service.exec_sync(container, ("ls",), 10),
    }
    work = asyncio.ensure_future(calls.pop(call))
    for other in calls.values():
        other.close()  # type: ignore[attr-defined]
    await reached.wait()
    agent = world.transports.agents[sandbox]
    if told_first:
        world.hypervisor.kill(f"vmsandbox-{sandbox}")
    else:
        world.hypervisor.unseen.add(f"vmsandbox-{sandbox}")
        world.transports.ways[sandbox].broken = TransportBroken("the vsock daemon has died") if daemon_dies else None
    agent.stop_listening()
    await agent.hang_up()
    if not told_first:
        asyncio.get_running_loop().call_later(0.01, world.hypervisor.kill, f"vmsandbox-{sandbox}")
    if call == "signal_container":
        await work  # It has ended, whatever ended it.
    else:
        with pytest.raises(VmsandboxError, match="the virtual machine ended: failed"):
            await work
    await service.remove_pod_sandbox(sandbox)
    assert (world.left(), service.list_containers()) == ([], ())


async def test_streams_end_with_their_machine_though_nobody_closes_their_connections(service, world, sandbox):
    """Connections of a kernel's vsock, or of a daemon that has not noticed, stay open; no deadline is near."""
    container = await running(service, sandbox)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def forward() -> None:
            async with service.port(sandbox, silent.getsockname()[1]) as stream:
                await stream.read()

        users = [
            asyncio.create_task(service.exec_sync(container, ("waits",), 0)),
            asyncio.create_task(forward()),
        ]
        sessions = service._sandboxes[sandbox]._machine._ways._session
        await until(lambda: len(sessions._streams) >= 5)  # of the container, of the command, of the port
        world.hypervisor.kill(f"vmsandbox-{sandbox}")
        for user in users:
            with pytest.raises(Unavailable):
                await user
    assert (await service.wait_container(container)).reason == "SandboxDied"


# Containers


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


# What a container asks for


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


# Admission


async def test_a_pod_of_negative_memory_makes_no_room_for_others(world, state):
    async with RuntimeService(world.host(state, memory_budget=165 * MIB)).running() as service:
        for memory in (-64 * MIB, -(2**63), 2**63 - 1):
            with pytest.raises(InvalidArgument, match=f"memory_limit_in_bytes {memory} is not valid"):
                await service.run_pod_sandbox(pod(resources=Resources(memory_limit=memory)))
        with pytest.raises(ResourceExhausted, match="may take 165 MiB"):
            await service.run_pod_sandbox(pod(resources=Resources(memory_limit=69 * MIB)))
    assert world.left() == []


async def test_a_machine_larger_than_the_budget_is_refused_at_once(world, state):
    async with RuntimeService(world.host(state, memory_budget=160 * MIB)).running() as service:
        with pytest.raises(
            ResourceExhausted, match=r"takes 161 MiB of the host, .* all machines together may take 160"
        ):
            await service.run_pod_sandbox(pod())


async def test_a_sandbox_waits_until_the_memory_of_another_is_given_back(world, state):
    async with RuntimeService(world.host(state, memory_budget=165 * MIB)).running() as service:
        first = await service.run_pod_sandbox(pod("first"))
        second = asyncio.create_task(service.run_pod_sandbox(pod("second")))
        await until(lambda: len(service.list_pod_sandboxes()) == 2)
        assert len(world.hypervisor.machines) == 1
        await service.stop_pod_sandbox(first)
        assert service.pod_sandbox_status(await second).state is SandboxState.READY


async def test_sandboxes_boot_a_few_at_a_time_and_none_fails(world, state):
    booting, most = 0, 0
    create = world.hypervisor.create

    async def slow(spec, before) -> None:
        nonlocal booting, most
        booting += 1
        most = max(most, booting)
        await asyncio.sleep(0.01)
        await create(spec, before)
        booting -= 1

    world.hypervisor.create = slow  # type: ignore[method-assign]
    host = world.host(state, memory_budget=10_000 * MIB, boots_in_parallel=3)
    async with RuntimeService(host).running() as service:
        ids = await asyncio.gather(*(service.run_pod_sandbox(pod(f"pod-{number}")) for number in range(20)))
        assert (len(set(ids)), most) == (20, 3)
        addresses = {status.ips for status in service.list_pod_sandboxes()}
        assert len(addresses) == 20
        await asyncio.gather(*(service.remove_pod_sandbox(each) for each in ids))
    assert world.left() == []
