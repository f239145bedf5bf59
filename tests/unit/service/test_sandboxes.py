"""The calls on sandboxes: their states, what they acquire, and how they end."""

import asyncio
import os
import socket
from collections.abc import Awaitable

import pytest

from tests.fakes.host import MIB, agent_of, app, hang_at, pod, running
from tests.support.waiting import hanging, until
from vmsandbox.errors import (
    AlreadyExists,
    Cancelled,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    VmsandboxError,
)
from vmsandbox.guest.transport.connection import TransportBroken
from vmsandbox.model import (
    ContainerState,
    IdMapping,
    NamespaceMode,
    Namespaces,
    Resources,
    SandboxState,
    UserNamespace,
)
from vmsandbox.process import usage_of
from vmsandbox.sandbox.containers import figures
from vmsandbox.state import ContainerRecord, SandboxRecord

CREATED, RUNNING, EXITED = ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED


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
