"""A daemon that was killed at any moment, and what the next one makes of it."""

import asyncio
import subprocess
from dataclasses import replace

import pytest

from tests.fakes.host import IMAGE, MIB, app, pod, running, tasks_of_sandboxes
from tests.fakes.processes import FakeProcess
from tests.support.waiting import hanging, until
from vmsandbox.errors import NotFound, ResourceExhausted, Unavailable
from vmsandbox.model import ContainerState, SandboxState
from vmsandbox.process import ProcessIdentity
from vmsandbox.protocol.messages import ConfigureGuest, Exit
from vmsandbox.sandbox.machines import ways
from vmsandbox.service import RuntimeService
from vmsandbox.state import ContainerRecord, SandboxRecord, State

CREATED, RUNNING, EXITED = ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED


async def test_a_daemon_that_ends_leaves_its_machines_running(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    assert list(world.hypervisor.machines) == [f"vmsandbox-{sandbox}"]
    assert world.images.holders == {}


async def test_a_sandbox_is_taken_back_as_it_was(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
        created = await service.create_container(sandbox, app("created"))
        before = service.pod_sandbox_status(sandbox)
    async with world.daemon() as service:
        assert service.pod_sandbox_status(sandbox) == before
        assert service.container_status(container).state is RUNNING
        assert service.container_status(created).state is CREATED
        assert world.images.holders == {IMAGE.id: 1}
        await service.start_container(created)
        await service.stop_container(container, 10)
        assert service.container_status(container).exit_code == 128 + 15
        await service.remove_pod_sandbox(sandbox)
        assert (world.left(), service.list_containers()) == ([], ())


async def test_a_pod_without_a_network_is_made_measured_and_taken_back_without_one(world):
    world.network.set_up_error = Unavailable("no plugin is to be called")
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod(annotations={"vmsandbox/network": "none"}))
    (machine,) = world.hypervisor.machines.values()
    assert (machine.network, world.network.attached()) == (None, ())
    (asked,) = (each for each in world.transports.agents[sandbox].requests if isinstance(each, ConfigureGuest))
    assert asked.interfaces == ()
    async with world.daemon() as service:
        status = service.pod_sandbox_status(sandbox)
        assert (status.state, status.ips) == (SandboxState.READY, ())
        assert (await service.measure_pod_sandbox(sandbox)).interface is None
        await service.remove_pod_sandbox(sandbox)
        assert world.left() == []


async def test_a_pod_that_has_a_network_already_keeps_it_whatever_its_annotation_means_now(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        before = service.pod_sandbox_status(sandbox)
    world.change(SandboxRecord, sandbox, config=pod(annotations={"vmsandbox/network": "none"}))
    async with world.daemon() as service:
        assert service.pod_sandbox_status(sandbox).ips == before.ips != ()
        assert (await service.measure_pod_sandbox(sandbox)).interface is not None
        await service.remove_pod_sandbox(sandbox)
        assert world.left() == []


async def test_a_machine_that_a_version_before_secrets_has_booted_is_taken_back(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    assert len(world.transports.agents[sandbox].secret) == 32
    world.transports.agents[sandbox].secret = b""
    world.change(SandboxRecord, sandbox, secret="")
    async with world.daemon() as service:
        assert service.pod_sandbox_status(sandbox).state is SandboxState.READY


async def test_a_machine_whose_agent_does_not_know_its_secret_any_more_is_not_ready(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    world.transports.agents[sandbox].secret = b"x" * 32
    async with world.daemon() as service:
        status = service.pod_sandbox_status(sandbox)
        assert status.state is SandboxState.NOTREADY
        assert "secret" in status.message


async def test_the_output_goes_on_in_the_log_where_it_was_cut(world, tmp_path):
    proceed = asyncio.Event()

    async def talk(process: FakeProcess) -> int:
        await process.write(b"before\npart")
        await proceed.wait()
        await process.write(b"ial\nafter\n")
        return 4

    world.transports.prepare = lambda agent: agent.programs.update({("run",): talk})
    log = tmp_path / "logs/app.log"
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod(log_directory=str(log.parent)))
        container = await running(service, sandbox, log_path=log.name)
        await until(lambda: "before" in log.read_text())
    proceed.set()
    async with world.daemon() as service:
        ended = await service.wait_container(container)
        assert (ended.exit_code, ended.reason) == (4, "Error")
    lines = [line.split(" ", 3)[3] for line in log.read_text().splitlines()]
    assert lines == ["before", "partial", "after"]


async def test_a_container_that_ended_meanwhile_is_exited(world):
    proceed = asyncio.Event()

    async def end(_: FakeProcess) -> int:
        await proceed.wait()
        return 7

    world.transports.prepare = lambda agent: agent.programs.update({("run",): end})
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
    proceed.set()
    await until(lambda: world.transports.agents[sandbox].events)
    async with world.daemon() as service:
        ended = await service.wait_container(container)
        assert (ended.state, ended.exit_code, ended.reason) == (EXITED, 7, "Error")


async def test_an_end_that_was_acknowledged_but_not_finished_is_remembered(world):
    """The daemon was killed between the agent's event and the end of the output."""
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
        agent = world.transports.agents[sandbox]
    process = agent.processes[container, ""]
    process.signals.put_nowait(9)
    await until(lambda: agent.events)
    agent.events.clear()
    world.change(ContainerRecord, container, exit_code=137, reason="OOMKilled", finished_at=5)
    async with world.daemon() as service:
        ended = await service.wait_container(container)
        assert (ended.exit_code, ended.reason, ended.finished_at) == (137, "OOMKilled", 5)


async def test_an_end_that_was_acknowledged_is_remembered_though_the_machine_has_ended_since(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
    world.change(ContainerRecord, container, exit_code=3, reason="Error", finished_at=7)
    world.hypervisor.kill(f"vmsandbox-{sandbox}")
    async with world.daemon() as service:
        ended = service.container_status(container)
        assert (ended.state, ended.exit_code, ended.reason, ended.finished_at) == (EXITED, 3, "Error", 7)


async def test_an_event_that_comes_again_changes_nothing(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
        await service.stop_container(container, 10)
        before = service.container_status(container)
        agent = world.transports.agents[sandbox]
        await agent.emit(Exit(container, 1, 2))
        await service.create_container(sandbox, app("other"))
        assert service.container_status(container) == before


async def test_a_start_that_was_not_recorded_is_found_in_the_guest(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
    world.change(ContainerRecord, container, state=CREATED, started_at=0)
    async with world.daemon() as service:
        status = service.container_status(container)
        assert (status.state, status.started_at > 0) == (RUNNING, True)


async def test_a_container_that_was_being_made_is_removed(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await service.create_container(sandbox, app())
        agent = world.transports.agents[sandbox]
    world.change(ContainerRecord, container, state=ContainerState.UNKNOWN)
    async with world.daemon() as service:
        assert (service.list_containers(), agent.processes) == ((), {})
        await service.create_container(sandbox, app())


async def test_a_container_that_nobody_knows_is_deleted_in_the_guest(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
        agent = world.transports.agents[sandbox]
    with State(world.directory / "state.db") as state:
        state.delete(ContainerRecord, container)
    async with world.daemon() as service:
        assert (service.list_containers(), agent.processes) == ((), {})


async def test_a_container_that_the_guest_does_not_have_is_exited_with_the_reason(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
    world.transports.agents[sandbox].processes.clear()
    async with world.daemon() as service:
        ended = service.container_status(container)
        assert (ended.state, ended.exit_code, ended.reason) == (EXITED, 255, "ContainerLost")


async def test_commands_that_ran_are_ended(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
        agent = world.transports.agents[sandbox]
        agent.processes[container, "old"] = FakeProcess(("sleep",), stdin=False, tty=False)
    async with world.daemon():
        assert list(agent.processes) == [(container, "")]


async def test_an_image_removed_meanwhile_is_still_unplugged_with_its_last_container(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
    world.images.held.clear()
    async with world.daemon() as service:
        assert service.container_status(container).state is RUNNING
        await service.remove_container(container)
        assert world.hypervisor.disks[f"vmsandbox-{sandbox}"] == {}


@pytest.mark.parametrize("reason", ["SandboxDied", "OOMKilled"])
async def test_a_machine_that_ended_meanwhile_makes_its_sandbox_not_ready(world, reason):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
    if reason == "OOMKilled":
        world.cgroups.beyond_memory.add(sandbox)
    world.hypervisor.kill(f"vmsandbox-{sandbox}")
    async with world.daemon() as service:
        status = service.pod_sandbox_status(sandbox)
        assert status.state is SandboxState.NOTREADY
        assert "ended while the daemon was away: it is gone" in status.message
        assert service.container_status(container).reason == reason
        await service.remove_pod_sandbox(sandbox)
        assert (world.left(), service.list_pod_sandboxes()) == ([], ())


async def test_a_guest_that_has_restarted_makes_its_sandbox_not_ready(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    agent = world.transports.agents[sandbox]
    agent.reply = replace(agent.reply, boot_id="another")
    async with world.daemon() as service:
        status = service.pod_sandbox_status(sandbox)
        assert (status.state, "has restarted" in status.message) == (SandboxState.NOTREADY, True)
        await service.stop_pod_sandbox(sandbox)
        assert world.left() == []


async def test_a_vsock_daemon_that_died_makes_its_sandbox_not_ready(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    world.transports.agents.pop(sandbox)
    async with world.daemon() as service:
        status = service.pod_sandbox_status(sandbox)
        assert (status.state, "vsock daemon" in status.message) == (SandboxState.NOTREADY, True)
        await service.stop_pod_sandbox(sandbox)
        assert world.left() == []


@pytest.mark.parametrize("away", [False, True], ids=["while it is watched", "while the daemon is away"])
async def test_a_machine_whose_virtiofsd_dies_is_not_ready(world, away):
    with subprocess.Popen(["sleep", "1000"]) as virtiofsd:
        try:
            async with world.daemon() as service:
                sandbox = await service.run_pod_sandbox(pod())
                container = await running(service, sandbox)
                world.cgroups.servers[sandbox] = [ProcessIdentity.of(virtiofsd.pid)]
            if away:
                world.cgroups.servers[sandbox] = []
            async with world.daemon() as service:
                virtiofsd.kill()
                await until(lambda: service.pod_sandbox_status(sandbox).state is SandboxState.NOTREADY)
                assert "has lost its virtiofsd" in service.pod_sandbox_status(sandbox).message
                assert service.container_status(container).reason == "SandboxDied"
                await until(lambda: not world.hypervisor.machines)
                await service.remove_pod_sandbox(sandbox)
            assert world.left() == []
        finally:
            virtiofsd.kill()


async def test_a_machine_that_lost_its_virtiofsd_and_cannot_be_ended_is_not_ready(world, caplog):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    world.cgroups.servers[sandbox] = []
    world.hypervisor.destroy_error = Unavailable("libvirt hangs")
    async with world.daemon() as service:
        assert "has lost its virtiofsd" in service.pod_sandbox_status(sandbox).message
        assert f"sandbox {sandbox}: its machine goes on: libvirt hangs" in caplog.text
        world.hypervisor.destroy_error = None
        await service.remove_pod_sandbox(sandbox)
    assert world.left() == []


async def test_the_end_of_a_machine_is_the_reason_also_where_its_virtiofsd_ends_first(world):
    with subprocess.Popen(["sleep", "1000"]) as virtiofsd:
        async with world.daemon() as service:
            sandbox = await service.run_pod_sandbox(pod())
            world.cgroups.servers[sandbox] = [ProcessIdentity.of(virtiofsd.pid)]
        async with world.daemon() as service:
            virtiofsd.kill()
            virtiofsd.wait()
            await asyncio.sleep(0.1)
            world.hypervisor.kill(f"vmsandbox-{sandbox}")
            await until(lambda: service.pod_sandbox_status(sandbox).state is SandboxState.NOTREADY)
            assert "QEMU has died" in service.pod_sandbox_status(sandbox).message


async def test_where_libvirts_processes_are_not_seen_machines_run_and_their_sessions_are_watched(
    world, caplog, monkeypatch
):
    async def no_servers(served):
        return []

    async def unseen(name):
        raise NotFound(f"there is no QEMU of machine {name}")

    monkeypatch.setattr(world.cgroups, "file_servers", no_servers)
    monkeypatch.setattr(world.hypervisor, "usage", unseen)
    ways._tell_unseen.cache_clear()
    async with world.daemon() as service:
        first, second = [await service.run_pod_sandbox(pod(name)) for name in ("first", "second")]
    async with world.daemon() as service:
        states = [service.pod_sandbox_status(sandbox).state for sandbox in (first, second)]
        assert states == [SandboxState.READY] * 2
        assert caplog.text.count("libvirt's processes are not seen") == 1
        agent = world.transports.agents[first]
        agent.reply = replace(agent.reply, boot_id="another")
        await agent.hang_up()
        await until(lambda: service.pod_sandbox_status(first).state is SandboxState.NOTREADY)


async def test_a_machine_that_dies_after_it_was_taken_back_is_noticed(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
    with State(world.directory / "state.db") as state:
        service = RuntimeService(world.host(state))
        service.recover()
        async with service.running():
            world.hypervisor.kill(f"vmsandbox-{sandbox}")  # while it is being taken back
            assert (await service.wait_container(container)).reason == "SandboxDied"


async def test_a_daemon_that_is_ended_while_it_takes_back_lets_go_of_what_it_has_taken(world):
    async with world.daemon() as service:
        quick, slow = [await service.run_pod_sandbox(pod(name)) for name in ("quick", "slow")]
        await running(service, quick)
    reached, world.transports.agents[slow].before["list_containers"] = hanging()

    async def serve() -> None:
        async with world.daemon():
            raise AssertionError("a guest that does not answer was taken back")

    serving = asyncio.create_task(serve())
    await until(lambda: reached.is_set() and world.images.holders == {IMAGE.id: 1})
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert (tasks_of_sandboxes(), world.images.holders) == ([], {})
    assert len(world.hypervisor.machines) == 2


async def test_a_sandbox_that_was_being_made_is_given_back(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    world.change(SandboxRecord, sandbox, state=SandboxState.STARTING)
    async with world.daemon() as service:
        assert (service.list_pod_sandboxes(), world.left()) == ((), [])
        await service.run_pod_sandbox(pod())


async def test_a_sandbox_that_was_being_made_and_is_not_given_back_stays_for_a_stop(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    world.change(SandboxRecord, sandbox, state=SandboxState.STARTING)
    world.network.tear_down_error = Unavailable("the plugin hangs")
    async with world.daemon() as service:
        assert service.pod_sandbox_status(sandbox).state is SandboxState.NOTREADY
        world.network.tear_down_error = None
        await service.remove_pod_sandbox(sandbox)
        assert (world.left(), service.list_pod_sandboxes()) == ([], ())


async def test_a_stopped_sandbox_is_remembered_with_its_containers_until_it_is_removed(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
        await service.stop_pod_sandbox(sandbox)
        before = service.container_status(container)
    async with world.daemon() as service:
        assert service.pod_sandbox_status(sandbox).state is SandboxState.NOTREADY
        assert service.container_status(container) == before
        await service.remove_container(container)
        await service.remove_pod_sandbox(sandbox)
    async with world.daemon() as service:
        assert (service.list_pod_sandboxes(), service.list_containers()) == ((), ())


async def test_the_memory_of_a_sandbox_taken_back_is_committed(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    async with world.daemon(memory_budget=165 * MIB) as service:
        waiting = asyncio.create_task(service.run_pod_sandbox(pod("other")))
        await until(lambda: len(service.list_pod_sandboxes()) == 2)
        assert len(world.hypervisor.machines) == 1
        await service.remove_pod_sandbox(sandbox)
        await waiting
        with pytest.raises(ResourceExhausted):
            await service.run_pod_sandbox(pod("huge", resources=replace(pod().resources, memory_limit=99 * MIB)))


async def test_reclaiming_gives_back_everything_that_ran(world):
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        await running(service, sandbox)
    with State(world.directory / "state.db") as state:
        await RuntimeService(world.host(state)).reclaim()
        assert (state.all(SandboxRecord), state.all(ContainerRecord)) == ((), ())
    assert world.left() == []
