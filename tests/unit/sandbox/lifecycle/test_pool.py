"""The pool: machines that wait, are claimed by one pod each, given up where memory is short, and taken back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.fakes.host import MIB, FakeWorld, pod
from tests.fakes.hostile_agent import hang
from tests.support.waiting import until
from vmsandbox.config import PoolConfig, TemplateChoice
from vmsandbox.errors import DeadlineExceeded, InvalidArgument, Unavailable
from vmsandbox.model import NETWORK_ANNOTATION, NO_NETWORK, PodNetwork, Resources, SandboxState
from vmsandbox.protocol.messages import ConfigureGuest
from vmsandbox.sandbox.lifecycle import PoolFigures
from vmsandbox.sandbox.lifecycle.pool import warm_pool
from vmsandbox.sandbox.machines import making
from vmsandbox.service import RuntimeService
from vmsandbox.state import State, WaitingRecord
from vmsandbox.typed_yaml import Size

NETWORKLESS = replace(pod(), annotations={NETWORK_ANNOTATION: NO_NETWORK})


@contextlib.asynccontextmanager
async def daemon(
    world: FakeWorld, size: int = 1, budget: int = 2048 * MIB, *, template: bool = False, memory_max: int = 0
) -> AsyncIterator[RuntimeService]:
    choice = TemplateChoice.AUTO if template else TemplateChoice.OFF
    pool = PoolConfig(size, Size(memory_max) if memory_max else None)
    async with world.daemon(memory_budget=budget, template=choice, pool=pool, settled=False) as service:
        yield service


def figures(service: RuntimeService) -> PoolFigures:
    (found,) = service.pool_figures()
    return found


async def waiting(service: RuntimeService, count: int = 1) -> None:
    await until(lambda: service.pool_figures() and figures(service).waiting == count)


def recorded(service: RuntimeService) -> tuple[WaitingRecord, ...]:
    return service._host.state.all(WaitingRecord)


def name(sandbox_id: str) -> str:
    return f"vmsandbox-{sandbox_id}"


async def test_a_pod_has_the_machine_that_waited_and_another_one_waits_then(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await waiting(service)
        (machine,) = world.hypervisor.machines.values()
        assert machine.network is not None and machine.vsock is not None and machine.share is not None
        assert not world.network.attached() and world.network.taps
        first = await service.run_pod_sandbox(pod("first"))
        assert name(first) == machine.name
        claimed = world.hypervisor.machines[machine.name]
        assert claimed == machine, "it has everything already"
        assert world.cgroups.pods[first].metadata.name == "first"
        requests = world.transports.agents[first].requests
        *_, prepared, configured = (each for each in requests if isinstance(each, ConfigureGuest))
        assert prepared.interfaces == () and configured.hostname == "first" and configured.interfaces
        assert configured.card == machine.network.mac != configured.interfaces[0].mac
        assert world.network.connected == {machine.network.tap}
        await waiting(service)
        second = await service.run_pod_sandbox(pod("second"))
        assert second != first and (figures(service).hits, figures(service).misses) == (2, 0)
        for each in (first, second):
            await service.remove_pod_sandbox(each)
        await waiting(service)
    assert len(world.hypervisor.machines) == 1, "it waits for the next daemon"


async def test_without_a_pool_no_machine_waits(world: FakeWorld) -> None:
    async with daemon(world, 0) as service:
        await service.run_pod_sandbox(pod())
        assert len(world.hypervisor.machines) == 1 and service.pool_figures() == ()


async def test_machines_of_the_pool_are_made_from_the_template(world: FakeWorld) -> None:
    async with daemon(world, 2, template=True) as service:
        await waiting(service, 2)
        assert sorted(world.hypervisor.restored) == sorted(world.hypervisor.machines)


async def test_many_pods_at_once_have_as_many_machines_of_the_pool(world: FakeWorld) -> None:
    async with daemon(world, 5) as service:
        await waiting(service, 5)
        before = set(world.hypervisor.machines)
        pods = await asyncio.gather(*(service.run_pod_sandbox(pod(f"pod{number}")) for number in range(6)))
        assert len(before & {name(each) for each in pods}) == 5
        assert (figures(service).hits, figures(service).misses) == (5, 1)


async def test_a_pod_of_another_kind_is_booted(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await waiting(service)
        large = pod("large", resources=Resources(cpu_quota=900_000, cpu_period=100_000))
        sandbox_id = await service.run_pod_sandbox(large)
        assert figures(service).waiting == 1
        assert world.hypervisor.machines[name(sandbox_id)].most.vcpus == 9


async def test_a_pod_with_more_memory_grows_its_machine_of_the_pool(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await waiting(service)
        sandbox_id = await service.run_pod_sandbox(pod("large", resources=Resources(memory_limit=256 * MIB)))
        assert figures(service).hits == 1
        assert world.hypervisor.memories[name(sandbox_id)] == 288 * MIB


async def test_the_next_daemon_takes_back_what_waits(world: FakeWorld) -> None:
    async with daemon(world, 2) as service:
        await waiting(service, 2)
    before = set(world.hypervisor.machines)
    async with daemon(world, 2) as service:
        sandbox_id = await service.run_pod_sandbox(pod())
        assert name(sandbox_id) in before
        assert figures(service).hits == 1
        await waiting(service, 2)
        await service.remove_pod_sandbox(sandbox_id)
    async with daemon(world, 0) as service:
        await until(lambda: not recorded(service))
    assert not world.left()


async def test_what_was_being_made_when_the_daemon_was_killed_is_given_back(world: FakeWorld) -> None:
    state = State(world.directory / "state.db")
    half = "1" * 32
    state.put(half, WaitingRecord(half, "a kind", "", 1, 64 * MIB, "00" * 32))
    state.close()
    layout = world.directory / "run" / half
    layout.mkdir()
    async with daemon(world, 0) as service:
        await until(lambda: not recorded(service))
    assert not world.left()


async def test_machines_that_wait_end_when_a_pod_needs_their_memory(world: FakeWorld) -> None:
    async with daemon(world, 3, budget=600 * MIB) as service:
        await until(lambda: figures_of(service) == 3)
        large = await service.run_pod_sandbox(
            pod("large", resources=Resources(memory_limit=400 * MIB, cpu_quota=900_000, cpu_period=100_000))
        )
        assert service.pod_sandbox_status(large).state is SandboxState.READY
        await until(lambda: (now := service.admission_figures()).committed + now.spare <= now.budget)
        await asyncio.sleep(0.1)
        assert figures_of(service) < 3, "no machine is made where there is no room"


def figures_of(service: RuntimeService) -> int:
    return sum(pool.waiting for pool in service.pool_figures())


async def test_no_more_memory_waits_than_the_settings_let(world: FakeWorld) -> None:
    async with daemon(world, 5, memory_max=220 * MIB) as service:
        await until(lambda: figures_of(service))
        await asyncio.sleep(0.3)
        assert 0 < figures_of(service) < 5
        assert service.admission_figures().spare <= 220 * MIB


async def test_a_reload_that_wants_no_machines_ends_them_while_more_are_made(world: FakeWorld) -> None:
    async with daemon(world, 100, budget=100_000 * MIB) as service:
        await until(lambda: figures_of(service) >= 2)
        want_no_machines(service)
        await until(lambda: not recorded(service))
        assert not world.hypervisor.machines


async def test_a_reload_that_wants_no_machines_ends_them_just_after_a_pod_found_none(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await waiting(service)
        assert service._pool.take("of another kind") is None
        want_no_machines(service)
        await until(lambda: not recorded(service))
        assert service.pool_figures() == ()


def want_no_machines(service: RuntimeService) -> None:
    """Stand for a reload whose configuration has no pool any more."""
    profiles = service._host.profiles
    for handler, profile in tuple(profiles.items()):
        profiles[handler] = replace(profile, machine=replace(profile.machine, pool=PoolConfig()))


async def test_a_machine_that_dies_while_it_waits_is_replaced(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await waiting(service)
        (dead,) = world.hypervisor.machines
        world.hypervisor.kill(dead)
        await until(lambda: dead not in world.hypervisor.machines and world.hypervisor.machines)
        await waiting(service)
        sandbox_id = await service.run_pod_sandbox(pod())
        assert name(sandbox_id) != dead


async def test_a_pool_is_filled_when_libvirt_answers_again(world: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_pool, "_TICK", 0.05)
    world.hypervisor.state_key_error = Unavailable("libvirt does not answer")
    async with daemon(world, template=True) as service:
        await asyncio.sleep(0.2)
        assert not recorded(service)
        world.hypervisor.state_key_error = None
        await waiting(service)
        await service.run_pod_sandbox(pod("first"))
        world.hypervisor.state_key_error = Unavailable("libvirt does not answer")
        await asyncio.sleep(0.2)
        world.hypervisor.state_key_error = None
        await waiting(service)


async def test_a_pod_without_a_network_has_no_card_of_the_machine_that_waited(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await waiting(service)
        (machine,) = world.hypervisor.machines
        sandbox_id = await service.run_pod_sandbox(NETWORKLESS)
        assert name(sandbox_id) == machine and world.hypervisor.machines[machine].network is None
        requests = world.transports.agents[sandbox_id].requests
        *_, configured = (each for each in requests if isinstance(each, ConfigureGuest))
        assert not configured.interfaces and not configured.card
        assert sandbox_id not in world.network.taps


async def test_a_pod_whose_machine_of_the_pool_keeps_its_card_is_booted(world: FakeWorld) -> None:
    async with daemon(world) as service:
        await waiting(service)
        world.hypervisor.unplug_error = DeadlineExceeded("the guest has not released its network card")
        sandbox_id = await service.run_pod_sandbox(NETWORKLESS)
        assert world.hypervisor.machines[name(sandbox_id)].network is None
        assert service.pod_sandbox_status(sandbox_id).boots == 2


async def test_a_pod_whose_machine_of_the_pool_dies_under_the_claim_is_booted(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daemon(world) as service:
        await waiting(service)
        (machine,) = world.hypervisor.machines
        connect = world.network.connect_tap

        async def die(network: PodNetwork) -> None:
            monkeypatch.setattr(world.network, "connect_tap", connect)
            world.hypervisor.kill(machine)
            await asyncio.Event().wait()

        monkeypatch.setattr(world.network, "connect_tap", die)
        sandbox_id = await service.run_pod_sandbox(pod())
        assert service.pod_sandbox_status(sandbox_id).boots == 2
        assert world.hypervisor.machines[name(sandbox_id)].network is not None


async def test_a_pod_whose_machine_of_the_pool_does_not_answer_is_booted_soon(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_ANSWER_PART", 0.01)
    async with daemon(world) as service:
        await waiting(service)
        (machine,) = world.transports.agents.values()
        machine.before.update(read_clock=hang, configure_guest=hang)
        sandbox_id = await service.run_pod_sandbox(pod())
        assert service.pod_sandbox_status(sandbox_id).boots == 2
        assert world.transports.agents[sandbox_id] is not machine and len(world.network.attached()) == 1


@pytest.mark.parametrize("error", [InvalidArgument("there is no such cgroup"), Unavailable("a plugin failed")])
async def test_a_pod_that_fails_costs_its_machine_of_the_pool_and_leaves_nothing(
    world: FakeWorld, error: InvalidArgument
) -> None:
    async with daemon(world) as service:
        await waiting(service)
        (machine,) = world.hypervisor.machines
        world.cgroups.confine_error = error
        with pytest.raises(type(error), match=str(error)):
            await service.run_pod_sandbox(pod())
        assert machine not in world.hypervisor.machines, "a machine that was taken is not used again"
        world.cgroups.confine_error = None
        assert service.list_pod_sandboxes() == ()


async def test_a_pod_that_is_given_up_while_it_waits_gives_its_machine_back(world: FakeWorld) -> None:
    async with daemon(world, budget=300 * MIB) as service:
        await waiting(service)
        large = pod("large", resources=Resources(memory_limit=180 * MIB))
        first = await service.run_pod_sandbox(large)
        await until(lambda: figures_of(service) == 0)
        second = asyncio.create_task(
            service.run_pod_sandbox(pod("second", resources=Resources(memory_limit=180 * MIB)))
        )
        await until(lambda: service.admission_figures().waiting)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await service.remove_pod_sandbox(first)


async def test_machines_that_wait_have_secrets_of_their_own(world: FakeWorld) -> None:
    async with daemon(world, 3, template=True) as service:
        await waiting(service, 3)
        assert len({record.secret for record in recorded(service)}) == 3
