"""The size of machines that follow their pods and containers, up and down, on a host of fakes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.agent import Refusal
from tests.fakes.host import MIB, FakeWorld, app, pod, running
from tests.support.waiting import until
from vmsandbox.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from vmsandbox.hypervisor import Accelerator
from vmsandbox.model import MachineSize, Resources, SandboxState
from vmsandbox.protocol.messages import FitMachine, UpdateResources, UseProcessors
from vmsandbox.sandbox.machines import charge_of, limits_of
from vmsandbox.service import RuntimeService
from vmsandbox.state import ContainerRecord, SandboxRecord, State

OVERHEAD = 32
BUDGET = 1024
NOTHING = Resources()


def memory(mib: int) -> Resources:
    return Resources(memory_limit=mib * MIB)


def cpus(number: int) -> Resources:
    return Resources(cpu_quota=number * 100_000, cpu_period=100_000)


def both(number: int, mib: int) -> Resources:
    return replace(cpus(number), memory_limit=mib * MIB)


def size(vcpus: int, mib: int) -> MachineSize:
    """The size of a machine that has some memory besides its overhead."""
    return MachineSize(vcpus, (mib + OVERHEAD) * MIB)


@pytest.fixture
async def service(world: FakeWorld) -> AsyncIterator[RuntimeService]:
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        yield service


def has(world: FakeWorld, sandbox: str) -> MachineSize:
    agent = world.transports.agents[sandbox]
    return MachineSize(agent.online, world.hypervisor.memories[f"vmsandbox-{sandbox}"])


def told(service: RuntimeService, sandbox: str) -> MachineSize:
    status = service.pod_sandbox_status(sandbox)
    return MachineSize(status.vcpus, status.memory)


def committed(service: RuntimeService, sandbox: str) -> int:
    return service._admission._committed[sandbox] // MIB


def charged(wanted: MachineSize) -> int:
    """Return the MiB that a machine of a size takes of the host."""
    return charge_of(wanted, Accelerator.KVM) // MIB


def limits(service: RuntimeService, container: str) -> Resources:
    return service.container_status(container).config.resources


def updates(world: FakeWorld, sandbox: str) -> list[dict[str, Any]]:
    """Return the limits that the agent was told of."""
    requests = world.transports.agents[sandbox].requests
    return [request.resources for request in requests if isinstance(request, UpdateResources)]


def fits(world: FakeWorld, sandbox: str) -> list[int]:
    """Return the MiB that the agent was told that the host is about to take, in each request to fit the machine."""
    requests = world.transports.agents[sandbox].requests
    return [request.leaving // MIB for request in requests if isinstance(request, FitMachine)]


def assert_is(service: RuntimeService, world: FakeWorld, sandbox: str, wanted: MachineSize) -> None:
    """The machine, its record, the budget and its cgroup agree."""
    assert has(world, sandbox) == told(service, sandbox) == wanted
    assert committed(service, sandbox) == charged(wanted)
    if sandbox in world.cgroups.limits:
        assert world.cgroups.limits[sandbox].memory == limits_of(wanted, Accelerator.KVM).memory


async def test_a_machine_has_the_size_that_its_pod_declares_when_it_is_ready(service, world):
    sandbox = await service.run_pod_sandbox(pod(resources=both(3, 300)))
    assert_is(service, world, sandbox, size(3, 300))
    spec = world.hypervisor.machines[f"vmsandbox-{sandbox}"]
    assert (spec.size, spec.most) == (MachineSize(1, 64 * MIB), MachineSize(8, BUDGET * MIB)), "it has booted small"
    assert service.pod_sandbox_status(sandbox).most == spec.most


async def test_a_machine_that_does_not_grow_to_its_pod_s_size_is_given_back(service, world):
    world.hypervisor.resize_error = DeadlineExceeded("the guest does not answer")
    with pytest.raises(DeadlineExceeded, match="does not answer"):
        await service.run_pod_sandbox(pod(resources=both(3, 300)))
    assert service.list_pod_sandboxes() == () and world.left() == []


async def test_a_pod_that_waits_for_memory_gets_what_a_machine_gives_back(service, world):
    sandbox = await service.run_pod_sandbox(pod(resources=memory(700)))
    waiting = asyncio.create_task(service.run_pod_sandbox(pod("waits", resources=memory(700))))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await service.update_pod_sandbox_resources(sandbox, memory(100), NOTHING)
    async with asyncio.timeout(5):
        assert_is(service, world, await waiting, size(1, 700))


async def test_a_machine_grows_for_containers_that_come_and_shrinks_when_they_end(service, world):
    sandbox = await service.run_pod_sandbox(pod())
    assert_is(service, world, sandbox, size(1, 64))
    one = await running(service, sandbox, resources=both(2, 200))
    assert_is(service, world, sandbox, size(2, 200))
    two = await running(service, sandbox, name="two", resources=both(1, 100))
    assert_is(service, world, sandbox, size(3, 300))
    await service.stop_container(one, 10)
    await until(lambda: has(world, sandbox) == size(1, 100))
    await service.stop_container(two, 10)
    await until(lambda: has(world, sandbox) == size(1, 64))
    await until(lambda: committed(service, sandbox) == charged(size(1, 64)))
    assert_is(service, world, sandbox, size(1, 64))


async def test_containers_that_come_together_have_room_together(service, world):
    sandbox = await service.run_pod_sandbox(pod())
    created = [service.create_container(sandbox, app(f"c{n}", resources=both(1, 100))) for n in range(4)]
    await asyncio.gather(*created)
    await until(lambda: has(world, sandbox) == size(4, 400))


async def test_a_container_that_is_not_made_leaves_the_machine_as_it_was(service, world):
    sandbox = await service.run_pod_sandbox(pod())
    with pytest.raises(NotFound):
        await service.create_container(sandbox, replace(app(resources=both(2, 300)), image="sha256:" + "2" * 64))
    await until(lambda: has(world, sandbox) == size(1, 64))


@pytest.mark.parametrize(
    ("resources", "error", "reason"),
    [
        (both(1, 2000), ResourceExhausted, "all machines together may take 1024 MiB"),
        (both(9, 100), InvalidArgument, "needs 9 vCPUs, and its machine has at most 8"),
    ],
)
async def test_a_container_for_which_there_is_no_room_is_not_made(service, world, resources, error, reason):
    sandbox = await service.run_pod_sandbox(pod())
    if error is ResourceExhausted:  # else the bound of the machine is the budget
        service._sandboxes[sandbox].keeper.record = unbounded(service, sandbox)
    with pytest.raises(error, match=reason):
        await service.create_container(sandbox, app(resources=resources))
    assert service.list_containers() == ()
    assert_is(service, world, sandbox, size(1, 64))


def unbounded(service: RuntimeService, sandbox: str) -> SandboxRecord:
    record = service._sandboxes[sandbox].record
    assert record.sizes is not None
    return replace(record, sizes=replace(record.sizes, bound=MachineSize(8, 1 << 40)))


async def test_a_container_of_a_pod_that_declares_its_size_changes_nothing(service, world):
    sandbox = await service.run_pod_sandbox(pod(resources=both(2, 200)))
    await running(service, sandbox, resources=both(2, 200))
    await running(service, sandbox, name="two", resources=both(2, 200))
    assert_is(service, world, sandbox, size(2, 200))


async def test_an_update_of_a_container_takes_the_machine_along_up_and_down(service, world, monkeypatch):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))
    seen = []
    resize = world.hypervisor.resize

    async def watched(name: str, wanted: int) -> int:
        seen.append((len(updates(world, sandbox)), wanted // MIB - OVERHEAD))
        return await resize(name, wanted)

    monkeypatch.setattr(world.hypervisor, "resize", watched)
    await service.update_container_resources(container, both(4, 500))
    assert_is(service, world, sandbox, size(4, 500))
    assert seen == [(0, 500)], "the machine is first"
    await service.update_container_resources(container, both(1, 200))
    assert_is(service, world, sandbox, size(1, 200))
    assert seen[1:] == [(2, 200)], "the container is first"
    await service.update_container_resources(container, both(2, 100))
    assert seen[2:] == [(2, 200), (3, 100)], "one after the other"
    assert limits(service, container) == both(2, 100)


async def test_containers_fit_a_machine_before_it_shrinks_and_after_it_has_grown(service, world, monkeypatch):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))
    assert fits(world, sandbox) == [0]
    going, held = hold_resizes(world, monkeypatch)
    update = asyncio.create_task(service.update_container_resources(container, both(1, 70)))
    await held.wait()
    assert fits(world, sandbox) == [0, 30]
    going.set()
    await update
    assert fits(world, sandbox) == [0, 30, 0]
    await service.update_container_resources(container, cpus(3))
    assert fits(world, sandbox) == [0, 30, 0, 0]


async def test_memory_that_containers_use_is_not_asked_of_the_machine(service, world):
    sandbox = await service.run_pod_sandbox(pod(resources=memory(500)))

    async def refuse(request: FitMachine) -> None:
        if request.leaving:
            raise Refusal("failed_precondition", "the containers use 450 MiB")

    world.transports.agents[sandbox].before["fit_machine"] = refuse
    with pytest.raises(FailedPrecondition, match=r"resizing the machine of pod default/web: .*use 450 MiB"):
        await service.update_pod_sandbox_resources(sandbox, memory(100), NOTHING)
    assert_is(service, world, sandbox, size(1, 500))
    assert fits(world, sandbox) == [400, 0]


async def test_a_machine_whose_agent_knows_nothing_of_its_size_is_resized(service, world, monkeypatch):
    sandbox = await service.run_pod_sandbox(pod(resources=memory(500)))
    session = service._sandboxes[sandbox].context.running().client.session
    assert session.peer is not None
    older = replace(session.peer, features=tuple(set(session.peer.features) - {FitMachine.METHOD}))
    monkeypatch.setattr(session._state, "peer", older)
    await service.update_pod_sandbox_resources(sandbox, memory(100), NOTHING)
    assert_is(service, world, sandbox, size(1, 100))
    assert fits(world, sandbox) == []


async def test_an_update_beyond_the_bound_of_the_machine_changes_nothing_and_names_it(service, world):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))
    for wanted, reason in ((cpus(9), "at most 8"), (memory(BUDGET), f"needs {BUDGET + OVERHEAD} MiB.* at most 1024")):
        with pytest.raises(InvalidArgument, match=reason):
            await service.update_container_resources(container, wanted)
    assert limits(service, container) == both(1, 100) and updates(world, sandbox) == []
    assert_is(service, world, sandbox, size(1, 100))


async def test_an_update_beyond_the_budget_changes_nothing_and_names_it(service, world):
    other = await service.run_pod_sandbox(pod("other", resources=memory(700)))
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))
    with pytest.raises(ResourceExhausted, match=r"take 401 MiB .* may take 1024 MiB, .* others take 807 MiB"):
        await service.update_container_resources(container, memory(300))
    assert limits(service, container) == both(1, 100) and updates(world, sandbox) == []
    await service.remove_pod_sandbox(other)
    await service.update_container_resources(container, memory(300))
    assert_is(service, world, sandbox, size(1, 300))


async def test_memory_that_the_guest_uses_stays_and_so_do_the_limits(service, world):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(2, 400))
    world.hypervisor.resize_error = FailedPrecondition("the guest uses it")
    with pytest.raises(FailedPrecondition, match=r"resizing the machine of pod default/web: the guest uses it"):
        await service.update_container_resources(container, memory(100))
    assert limits(service, container) == both(2, 400)
    assert [each["memory"]["limit"] for each in updates(world, sandbox)] == [100 * MIB, 400 * MIB]
    assert_is(service, world, sandbox, size(2, 400))


async def test_a_guest_that_refuses_new_limits_has_its_machine_as_before(service, world):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))

    async def refuse(_: object) -> None:
        raise Refusal("failed_precondition", "crun update: no")

    world.transports.agents[sandbox].before["update_resources"] = refuse
    with pytest.raises(FailedPrecondition, match="crun update: no"):
        await service.update_container_resources(container, both(2, 300))
    assert limits(service, container) == both(1, 100)
    assert_is(service, world, sandbox, size(1, 100))


@pytest.mark.parametrize(("before", "after"), [(both(1, 100), both(3, 300)), (both(3, 300), both(1, 100))])
async def test_a_guest_that_cannot_use_other_cpus_keeps_its_size(service, world, before, after):
    sandbox = await service.run_pod_sandbox(pod(resources=before))
    asked = []

    async def refuse(request: UseProcessors) -> None:
        asked.append(request.count)
        if request.count == after.cpu_quota // 100_000:
            raise Refusal("failed_precondition", "cpu2 cannot be switched: Device or resource busy")

    world.transports.agents[sandbox].before["use_processors"] = refuse
    with pytest.raises(FailedPrecondition, match="resizing the machine of pod default/web: cpu2 cannot be switched"):
        await service.update_pod_sandbox_resources(sandbox, after, NOTHING)
    assert service.pod_sandbox_status(sandbox).config.resources == before
    assert_is(service, world, sandbox, size(before.cpu_quota // 100_000, before.memory_limit // MIB))
    assert asked[:3] == [0, after.cpu_quota // 100_000, before.cpu_quota // 100_000]


async def test_a_machine_whose_agent_is_older_keeps_its_cpus_and_follows_in_memory(world):
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        sandbox = await service.run_pod_sandbox(pod(resources=both(2, 100)))
    agent = world.transports.agents[sandbox]
    agent.reply = replace(agent.reply, features=tuple(set(agent.reply.features) - {UseProcessors.METHOD}))
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        assert_is(service, world, sandbox, size(2, 100))
        await service.update_pod_sandbox_resources(sandbox, both(4, 300), NOTHING)
        assert_is(service, world, sandbox, size(2, 300))


async def test_a_host_that_refuses_the_limits_of_the_processes_keeps_the_machine(service, world, monkeypatch):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))

    async def refuse(*_: object) -> None:
        raise FailedPrecondition("the limits of the machine cannot be changed")

    monkeypatch.setattr(world.cgroups, "resize", refuse)
    with pytest.raises(FailedPrecondition, match="cannot be changed"):
        await service.update_container_resources(container, both(2, 300))
    assert has(world, sandbox) == told(service, sandbox) == size(1, 100)


async def test_a_limit_that_is_lowered_is_not_to_kill_what_uses_more(service, world):
    sandbox = await service.run_pod_sandbox(pod(resources=memory(500)))
    container = await running(service, sandbox, resources=memory(200))
    for mib in (100, 300):
        await service.update_container_resources(container, memory(mib))
    assert [each["memory"].get("checkBeforeUpdate") for each in updates(world, sandbox)] == [True, None]


def kubelets(number: int, mib: int, shares: int) -> Resources:
    """The limits as a kubelet writes them: all in each request, also those that stay."""
    return replace(both(number, mib), cpu_shares=shares * 1024)


async def test_a_pod_is_resized_as_a_kubelet_does_it(service, world):
    """Memory before CPU, and the shares apart from the quota: the calls of a kubelet 1.36 for a resize up and down."""
    overhead = memory(128)
    sandbox = await service.run_pod_sandbox(pod(resources=kubelets(1, 100, 1), overhead=overhead))
    container = await running(service, sandbox, resources=kubelets(1, 100, 1))
    calls = (
        ("pod", kubelets(1, 500, 1), size(1, 500)),
        ("container", kubelets(1, 500, 1), size(1, 500)),
        ("pod", kubelets(4, 500, 1), size(4, 500)),
        ("pod", kubelets(4, 500, 4), size(4, 500)),
        ("container", kubelets(4, 500, 4), size(4, 500)),
        ("container", kubelets(4, 100, 4), size(4, 500)),
        ("pod", kubelets(4, 100, 4), size(4, 100)),
        ("container", kubelets(1, 100, 1), size(4, 100)),
        ("pod", kubelets(4, 100, 1), size(4, 100)),
        ("pod", kubelets(1, 100, 1), size(1, 100)),
    )
    for target, wanted, expected in calls:
        if target == "pod":
            await service.update_pod_sandbox_resources(sandbox, wanted, overhead)
            assert service.pod_sandbox_status(sandbox).config.resources == wanted
        else:
            await service.update_container_resources(container, wanted)
            assert limits(service, container) == wanted
        assert_is(service, world, sandbox, expected)
    told = [(each["cpu"]["shares"], each["memory"]["limit"] // MIB) for each in updates(world, sandbox)]
    assert told == [(1024, 500), (4096, 500), (4096, 100), (1024, 100)]
    await service.update_pod_sandbox_resources(sandbox, kubelets(1, 100, 1), memory(160))
    assert service.pod_sandbox_status(sandbox).config.overhead == memory(160)


async def test_a_container_that_outgrows_its_pod_takes_the_machine_along(service, world):
    """A kubelet before 1.34 says nothing of the pod."""
    sandbox = await service.run_pod_sandbox(pod(resources=both(1, 100)))
    container = await running(service, sandbox, resources=both(1, 100))
    await service.update_container_resources(container, both(2, 400))
    assert_is(service, world, sandbox, size(2, 400))


async def test_the_cpu_time_of_a_machine_follows_where_its_vcpus_stay(service, world):
    """The machine's own processes have the time of one CPU besides that of the pod."""

    def quota(sandbox: str) -> int:
        return world.cgroups.limits[sandbox].cpu

    half = Resources(cpu_quota=50_000, cpu_period=100_000)
    declared = await service.run_pod_sandbox(pod("declared", resources=replace(memory(100), cpu_quota=20_000)))
    await service.update_pod_sandbox_resources(declared, half, NOTHING)
    assert quota(declared) == 150_000
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=replace(half, cpu_shares=512))
    await until(lambda: (quota(sandbox), world.cgroups.limits[sandbox].shares) == (150_000, 512))
    await service.update_container_resources(container, Resources(cpu_quota=70_000))
    assert quota(sandbox) == 170_000
    await running(service, sandbox, name="without a limit")
    assert quota(sandbox) == 300_000
    assert has(world, sandbox).vcpus == 2


async def test_a_machine_is_killed_in_the_order_of_its_containers(service, world):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=Resources(oom_score_adj=900))
    await until(lambda: world.cgroups.scores[sandbox] == 900)
    await service.update_container_resources(container, Resources(oom_score_adj=800))
    await until(lambda: world.cgroups.scores[sandbox] == 800)


async def test_a_pod_that_is_resized_beyond_what_can_be_declares_what_it_did(service, world):
    sandbox = await service.run_pod_sandbox(pod(resources=both(1, 100)))
    for wanted in (both(9, 100), both(1, 2000), Resources(cpu_shares=1), memory(-1)):
        with pytest.raises(InvalidArgument):
            await service.update_pod_sandbox_resources(sandbox, wanted, NOTHING)
    assert service.pod_sandbox_status(sandbox).config.resources == both(1, 100)
    assert_is(service, world, sandbox, size(1, 100))


async def test_a_container_made_again_beyond_its_machine_keeps_its_limits(service, world, caplog):
    """A kubelet with `resizePolicy: RestartContainer` makes it, though the pod's new size was refused."""
    sandbox = await service.run_pod_sandbox(pod(resources=both(1, 100)))
    container = await running(service, sandbox, resources=both(1, 100))
    await service.stop_container(container, 0)
    with pytest.raises(InvalidArgument, match="at most 1024"):
        await service.update_pod_sandbox_resources(sandbox, both(1, 2000), NOTHING)
    for attempt, wanted, given in ((1, both(1, 2000), both(1, 100)), (2, both(1, 90), both(1, 90))):
        again = await service.create_container(sandbox, app(attempt=attempt, resources=wanted))
        assert limits(service, again) == given
    assert "container app keeps the limits of its last attempt: the pod needs 2032 MiB" in caplog.text
    with pytest.raises(InvalidArgument, match="at most 1024"):
        await service.create_container(sandbox, app("another", resources=both(1, 2000)))
    assert_is(service, world, sandbox, size(1, 100))


async def test_a_stopped_pod_is_not_resized(service):
    sandbox = await service.run_pod_sandbox(pod(resources=both(1, 100)))
    container = await running(service, sandbox, resources=both(1, 100))
    await service.stop_pod_sandbox(sandbox)
    with pytest.raises(FailedPrecondition, match=r"cannot resize sandbox .*: it is notready"):
        await service.update_pod_sandbox_resources(sandbox, both(2, 200), NOTHING)
    with pytest.raises(FailedPrecondition, match="cannot update container"):
        await service.update_container_resources(container, both(2, 200))


async def test_updates_of_one_limit_each_at_once_are_both_done(service, world):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))
    await asyncio.gather(
        service.update_container_resources(container, cpus(3)),
        service.update_container_resources(container, memory(300)),
    )
    assert limits(service, container) == both(3, 300)
    assert_is(service, world, sandbox, size(3, 300))


async def test_an_update_goes_on_when_its_caller_gives_up(service, world, monkeypatch):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))
    going, held = hold_resizes(world, monkeypatch)
    update = asyncio.create_task(service.update_container_resources(container, both(2, 300)))
    await held.wait()
    update.cancel()
    going.set()
    with pytest.raises(asyncio.CancelledError):
        await update
    assert limits(service, container) == both(2, 300)
    assert_is(service, world, sandbox, size(2, 300))


def hold_resizes(world: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Have machines change their size when the first event is set; the second one tells that one was asked to."""
    going, held = asyncio.Event(), asyncio.Event()
    resize = world.hypervisor.resize

    async def wait(name: str, wanted: int) -> int:
        held.set()
        await going.wait()
        return await resize(name, wanted)

    monkeypatch.setattr(world.hypervisor, "resize", wait)
    return going, held


@pytest.mark.parametrize("ending", ["stop_pod_sandbox", "remove_pod_sandbox"])
async def test_a_pod_that_ends_while_it_is_resized_leaves_nothing(service, world, monkeypatch, ending):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))
    going, held = hold_resizes(world, monkeypatch)
    update = asyncio.create_task(service.update_container_resources(container, both(2, 300)))
    await held.wait()
    async with asyncio.timeout(5):
        await getattr(service, ending)(sandbox)
    going.set()
    with pytest.raises((Unavailable, FailedPrecondition, NotFound)):
        await update
    assert service._admission._committed == {}
    assert world.left() == []
    with State(world.directory / "state.db") as state:
        left = [record.state for record in state.all(SandboxRecord)]
    assert left == ([SandboxState.NOTREADY] if ending == "stop_pod_sandbox" else [])


async def test_a_container_is_removed_while_it_is_updated(service, world, monkeypatch):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))
    going, held = hold_resizes(world, monkeypatch)
    update = asyncio.create_task(service.update_container_resources(container, both(2, 300)))
    await held.wait()
    await service.remove_container(container)
    going.set()
    with pytest.raises(FailedPrecondition, match="cannot update container"):
        await update
    await until(lambda: has(world, sandbox) == size(1, 64))
    await until(lambda: committed(service, sandbox) == charged(size(1, 64)))


async def test_a_machine_that_dies_while_it_is_resized_is_the_reason(service, world, monkeypatch):
    sandbox = await service.run_pod_sandbox(pod())
    container = await running(service, sandbox, resources=both(1, 100))
    going, held = hold_resizes(world, monkeypatch)
    update = asyncio.create_task(service.update_container_resources(container, both(2, 300)))
    await held.wait()
    world.hypervisor.kill(f"vmsandbox-{sandbox}")
    going.set()
    with pytest.raises(Unavailable, match="does not run any more"):
        await update


async def test_pods_are_resized_beside_one_that_hangs(service, world, monkeypatch):
    hung = await service.run_pod_sandbox(pod("hung", resources=memory(100)))
    sandbox = await service.run_pod_sandbox(pod(resources=memory(100)))
    resize = world.hypervisor.resize

    async def hang(name: str, wanted: int) -> int:
        if name.endswith(hung):
            await asyncio.sleep(60)
        return await resize(name, wanted)

    monkeypatch.setattr(world.hypervisor, "resize", hang)
    waiting = asyncio.create_task(service.update_pod_sandbox_resources(hung, memory(200), NOTHING))
    async with asyncio.timeout(5):
        await service.update_pod_sandbox_resources(sandbox, memory(200), NOTHING)
        await service.stop_pod_sandbox(hung)
    assert not waiting.done()
    assert_is(service, world, sandbox, size(1, 200))


async def test_the_size_of_a_machine_is_taken_back(world):
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox, resources=both(2, 300))
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        assert_is(service, world, sandbox, size(2, 300))
        await service.update_container_resources(container, both(3, 400))
        assert_is(service, world, sandbox, size(3, 400))


@pytest.mark.parametrize("recorded", [size(4, 500), size(1, 100)], ids=["more", "less"])
async def test_a_machine_whose_daemon_was_killed_while_it_grew_has_what_its_pod_declares(world, recorded):
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        sandbox = await service.run_pod_sandbox(pod(resources=both(1, 100)))
    world.change(SandboxRecord, sandbox, memory=recorded.memory, vcpus=recorded.vcpus)
    world.hypervisor.memories[f"vmsandbox-{sandbox}"] = size(3, 300).memory
    world.transports.agents[sandbox].online = 3
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        await until(lambda: has(world, sandbox) == told(service, sandbox) == size(1, 100))
        await until(lambda: committed(service, sandbox) == charged(size(1, 100)))


async def test_limits_whose_update_was_interrupted_are_given_back(world):
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        sandbox = await service.run_pod_sandbox(pod(resources=both(1, 500)))
        container = await running(service, sandbox, resources=memory(100))
    world.change(ContainerRecord, container, updating=both(1, 500))
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        assert updates(world, sandbox) == [
            {"memory": {"limit": 100 * MIB, "swap": 100 * MIB, "checkBeforeUpdate": True}, "cpu": {"quota": -1}}
        ]
        assert limits(service, container) == memory(100)
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        assert len(updates(world, sandbox)) == 1, "once"


async def test_a_machine_of_an_earlier_version_keeps_its_size(world):
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        sandbox = await service.run_pod_sandbox(pod(resources=both(1, 100)))
        container = await running(service, sandbox, resources=both(1, 100))
    world.change(SandboxRecord, sandbox, sizes=None)
    async with world.daemon(memory_budget=BUDGET * MIB) as service:
        for update in (
            service.update_pod_sandbox_resources(sandbox, memory(200), NOTHING),
            service.update_container_resources(container, cpus(2)),
            service.update_container_resources(container, memory(200)),
        ):
            with pytest.raises(FailedPrecondition, match="made by an earlier version") as caught:
                await update
            assert caught.value.hint == "make the pod again"
        await service.update_container_resources(container, replace(memory(50), cpu_shares=100))
        await service.update_pod_sandbox_resources(sandbox, memory(50), NOTHING)
        assert_is(service, world, sandbox, size(1, 100))
        assert service.pod_sandbox_status(sandbox).most is None
