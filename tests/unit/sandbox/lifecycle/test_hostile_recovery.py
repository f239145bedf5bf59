"""A daemon starts again beside sandboxes that cannot be taken back: each of them ends for itself, and delays nobody."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.host import FakeWorld, app, pod, running
from tests.fakes.hostile_agent import MISBEHAVIOURS, hang, misbehave
from tests.unit.test_hostile_agents import hello
from vmsandbox.errors import AlreadyExists, FailedPrecondition, Unavailable
from vmsandbox.model import ContainerState, SandboxState
from vmsandbox.protocol.messages import DeleteContainer
from vmsandbox.sandbox.lifecycle import ending, recovery
from vmsandbox.sandbox.machines import machine
from vmsandbox.service import RuntimeService
from vmsandbox.state import ContainerRecord, SandboxRecord, State

READY, NOTREADY = SandboxState.READY, SandboxState.NOTREADY
EXITED = ContainerState.EXITED


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_END_DEADLINE", 0.3)
    monkeypatch.setattr(machine, "_SHUTDOWN_DEADLINE", 0.1)
    monkeypatch.setattr(recovery, "STOP_PATIENCE", 0.1)


async def two_pods(world: FakeWorld) -> tuple[str, str]:
    """The sandboxes of a quiet pod and of another, each with a container, that a daemon has left."""
    async with world.daemon() as service:
        quiet, other = [await service.run_pod_sandbox(pod(name)) for name in ("quiet", "other")]
        for each in (quiet, other):
            await running(service, each)
    return quiet, other


def container_of(service: RuntimeService, sandbox_id: str) -> str:
    return next(each.id for each in service.list_containers() if each.sandbox_id == sandbox_id)


async def says_hello(world: FakeWorld, service: RuntimeService, sandbox_id: str) -> bool:
    world.transports.agents[sandbox_id].programs["hello",] = hello
    return (await service.exec_sync(container_of(service, sandbox_id), ("hello",), 120)).stdout == b"hello"


async def remove_all(world: FakeWorld, service: RuntimeService) -> None:
    """Stop and remove every sandbox, as a kubelet does, and see that nothing is left."""
    for each in service.list_pod_sandboxes():
        await service.stop_pod_sandbox(each.id)
        assert service.pod_sandbox_status(each.id).state is NOTREADY
        await service.remove_pod_sandbox(each.id)
    assert (service.list_pod_sandboxes(), service.list_containers(), world.left()) == ((), (), [])


@pytest.mark.parametrize("name", MISBEHAVIOURS)
async def test_a_hostile_guest_is_taken_back_or_ended_beside_a_quiet_one(name: str, world: FakeWorld) -> None:
    quiet, hostile = await two_pods(world)
    misbehave(world.transports.agents[hostile], name)
    async with world.daemon(memory_budget=0, settled=False) as service:
        assert [each.state for each in service.list_pod_sandboxes()] == [READY, READY]
        assert await says_hello(world, service, quiet)
        await service.stop_pod_sandbox(hostile)
        assert service.pod_sandbox_status(quiet).state is READY
        await remove_all(world, service)


async def test_five_hung_guests_of_twenty_delay_nobody(world: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "AT_ONCE", 4)
    monkeypatch.setattr(recovery, "TURN", 0.1)
    monkeypatch.setattr(recovery, "PATIENCE", 0.1)
    hung = ("never says hello", "answers no request", "keeps its execs", "hangs up at every request", "cuts a frame")
    async with world.daemon(memory_budget=1 << 40) as service:
        ids = [await service.run_pod_sandbox(pod(f"pod-{number}")) for number in range(20)]
        for each in ids:
            await running(service, each)
    for sandbox_id, name in zip(sorted(ids), hung, strict=False):  # They are the first to have their turns.
        misbehave(world.transports.agents[sandbox_id], name)
    monkeypatch.setattr(recovery, "PATIENCE", 60)
    async with world.daemon(memory_budget=0, settled=False) as service:
        assert [each.state for each in service.list_pod_sandboxes()] == [READY] * 20
        for sandbox_id in sorted(ids)[5:]:
            assert await says_hello(world, service, sandbox_id)
        await remove_all(world, service)


async def test_a_guest_that_lists_strangers_and_deletes_them_slowly_has_one_deadline(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "DEADLINE", 1)
    quiet, hostile = await two_pods(world)
    misbehave(world.transports.agents[hostile], "lists strangers", "deletes slowly")
    async with world.daemon() as service:
        status = service.pod_sandbox_status(hostile)
        assert (status.state, "was not taken back within 1 s" in status.message) == (NOTREADY, True)
        assert service.pod_sandbox_status(quiet).state is READY
        asked = [each for each in world.transports.agents[hostile].requests if isinstance(each, DeleteContainer)]
        assert 1 < len(asked) <= 64  # side by side, as many as an agent takes
        await remove_all(world, service)


ERRORS: dict[str, Callable[[], BaseException]] = {
    "OSError": lambda: NotADirectoryError(20, "Not a directory"),
    "ValueError": lambda: ValueError("a number out of range"),
    "KeyError": lambda: KeyError("missing"),
    "TimeoutError": TimeoutError,
    "RecursionError": lambda: RecursionError("maximum recursion depth exceeded"),
    "AssertionError": AssertionError,
    "OverflowError": lambda: OverflowError("Python int too large"),
    "MemoryError": MemoryError,
    "sqlite3.Error": lambda: sqlite3.OperationalError("disk I/O error"),
    "VmsandboxError": lambda: Unavailable("libvirt is not there"),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_of_any_kind_is_the_end_of_its_sandbox_alone(
    name: str, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, other = await two_pods(world)
    reopen = world.transports.reopen

    def failing(sandbox_id: str, directory: Path) -> object:
        if sandbox_id == other:
            raise ERRORS[name]()
        return reopen(sandbox_id, directory)

    monkeypatch.setattr(world.transports, "reopen", failing)
    async with world.daemon() as service:
        status = service.pod_sandbox_status(other)
        assert (status.state, f"taking back sandbox {other}" in status.message) == (NOTREADY, True)
        assert service.container_status(container_of(service, other)).reason == "SandboxDied"
        assert await says_hello(world, service, quiet)
        await remove_all(world, service)


async def test_a_link_in_place_of_a_directory_of_a_container_that_was_being_made_harms_nobody(
    world: FakeWorld, tmp_path: Path
) -> None:
    """A guest can write the share."""
    _, other = await two_pods(world)
    async with world.daemon(memory_budget=0, settled=False) as service:
        half_made = await service.create_container(other, app("half-made"))
    world.change(ContainerRecord, half_made, state=ContainerState.UNKNOWN)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (tmp_path / "run" / other / "share" / half_made).symlink_to(elsewhere)
    async with world.daemon() as service:
        assert [each.state for each in service.list_pod_sandboxes()] == [READY, READY]
        assert half_made not in [each.id for each in service.list_containers()]
        assert await says_hello(world, service, other)
        await remove_all(world, service)
    assert list(elsewhere.iterdir()) == [elsewhere / "file"]


def damage(world: FakeWorld, kind: type, key: str, body: str = '{"id": 5') -> None:
    name = {SandboxRecord: "sandbox", ContainerRecord: "container"}[kind]
    with contextlib.closing(sqlite3.connect(world.directory / "state.db")) as database, database:
        changed = database.execute("UPDATE record SET body = ? WHERE kind = ? AND id = ?", (body, name, key))
        assert changed.rowcount == 1


def damage_field(world: FakeWorld, kind: type, key: str, field: str) -> None:
    with contextlib.closing(sqlite3.connect(world.directory / "state.db")) as database:
        (body,) = database.execute("SELECT body FROM record WHERE id = ?", (key,)).fetchone()
    damage(world, kind, key, json.dumps({**json.loads(body), field: ["nonsense"]}))


async def test_a_damaged_record_costs_its_sandbox_alone_which_is_ended_and_not_ready(world, caplog):
    quiet, other = await two_pods(world)
    damage(world, SandboxRecord, other)
    async with world.daemon() as service:
        assert {each.id: each.state for each in service.list_pod_sandboxes()} == {quiet: READY, other: NOTREADY}
        status = service.pod_sandbox_status(other)
        assert f"sandbox {other} cannot be read" in status.message
        assert (status.config.metadata.uid, status.config.metadata.name) == (other, "unreadable")
        assert await says_hello(world, service, quiet)
        assert list(world.hypervisor.machines) == [f"vmsandbox-{quiet}"]
        assert [each.state for each in service.list_containers() if each.sandbox_id == other] == [EXITED]
        assert f"sandbox {other} cannot be read" in caplog.text
    async with world.daemon() as service:
        assert service.pod_sandbox_status(other).state is NOTREADY
        with pytest.raises(FailedPrecondition):
            await service.create_container(other, app("second"))
        await service.stop_pod_sandbox(other)
        await remove_all(world, service)
    with State(world.directory / "state.db") as state:
        assert (state.damaged(SandboxRecord), state.all(ContainerRecord)) == ({}, ())


async def test_a_sandbox_of_a_damaged_record_is_known_as_its_pods_where_the_record_still_says_so(world):
    quiet, other = await two_pods(world)
    damage_field(world, SandboxRecord, other, "network")
    async with world.daemon() as service:
        status = service.pod_sandbox_status(other)
        assert (status.state, status.config.metadata) == (NOTREADY, pod("other").metadata)
        with pytest.raises(AlreadyExists):
            await service.run_pod_sandbox(pod("other"))
        await service.remove_pod_sandbox(other)
        await service.run_pod_sandbox(pod("other"))
        assert await says_hello(world, service, quiet)
        await remove_all(world, service)


async def test_a_container_of_a_damaged_record_has_ended_where_the_record_still_says_whose_it_is(world, caplog):
    async with world.daemon() as service:
        sandbox_id = await service.run_pod_sandbox(pod())
        kept, damaged = await running(service, sandbox_id, name="kept"), await running(service, sandbox_id, name="bad")
    damage_field(world, ContainerRecord, damaged, "user")
    async with world.daemon() as service:
        ended = service.container_status(damaged)
        assert (ended.state, ended.exit_code, ended.reason) == (EXITED, 255, "RecordUnreadable")
        assert (ended.config.metadata.name, "cannot be read" in ended.message) == ("bad", True)
        assert list(world.transports.agents[sandbox_id].processes) == [(kept, "")]
        assert service.container_status(kept).state is ContainerState.RUNNING
        await service.remove_container(damaged)
        await remove_all(world, service)


async def test_a_sandbox_of_a_damaged_record_that_is_not_given_back_is_tried_again_at_the_next_start(world):
    quiet, other = await two_pods(world)
    damage(world, SandboxRecord, other)
    world.network.tear_down_error = Unavailable("the plugin hangs")
    async with world.daemon() as service:
        assert await says_hello(world, service, quiet)
    world.network.tear_down_error = None
    async with world.daemon() as service:
        await remove_all(world, service)


async def test_a_damaged_record_of_a_container_costs_the_container_alone(world, caplog):
    async with world.daemon() as service:
        sandbox_id = await service.run_pod_sandbox(pod())
        kept, damaged = await running(service, sandbox_id, name="kept"), await running(service, sandbox_id, name="bad")
    damage(world, ContainerRecord, damaged)
    async with world.daemon() as service:
        assert [each.id for each in service.list_containers()] == [kept]
        assert list(world.transports.agents[sandbox_id].processes) == [(kept, "")]
        assert f"container {damaged} cannot be read" in caplog.text
        await remove_all(world, service)


async def test_a_name_in_the_database_that_is_not_an_id_is_never_a_path(world, caplog):
    quiet, other = await two_pods(world)
    with contextlib.closing(sqlite3.connect(world.directory / "state.db")) as database, database:
        database.execute("UPDATE record SET id = '../..', body = '' WHERE id = ?", (other,))
    async with world.daemon() as service:
        assert [each.id for each in service.list_pod_sandboxes()] == [quiet]
        assert world.directory.is_dir()


async def test_a_call_waits_for_a_sandbox_that_is_being_taken_back(world):
    _, other = await two_pods(world)
    proceed = asyncio.Event()
    world.transports.agents[other].before["list_containers"] = lambda _: proceed.wait()
    async with world.daemon(memory_budget=0, settled=False) as service:
        container = container_of(service, other)
        calls = [
            asyncio.create_task(says_hello(world, service, other)),
            asyncio.create_task(service.create_container(other, app("second"))),
            asyncio.create_task(service.stop_container(container, 0)),
        ]
        done, _ = await asyncio.wait(calls, timeout=0.1)
        assert not done
        proceed.set()
        await asyncio.wait(calls)
        assert service.container_status(container).state is ContainerState.EXITED
        await remove_all(world, service)


async def test_a_call_on_a_sandbox_that_is_not_taken_back_soon_says_so(world, monkeypatch):
    monkeypatch.setattr(recovery, "PATIENCE", 0.1)
    quiet, other = await two_pods(world)
    world.transports.agents[other].before["list_containers"] = hang
    async with world.daemon(memory_budget=0, settled=False) as service:
        container = container_of(service, other)
        for call in (
            lambda: service.exec_sync(container, ("hello",), 10),
            lambda: service.create_container(other, app("second")),
            lambda: service.start_container(container),
            lambda: service.stop_container(container, 10),
            lambda: service.remove_container(container),
        ):
            with pytest.raises(Unavailable, match="still being taken back") as caught:
                await call()
            assert "can be stopped" in caught.value.hint
        assert service.container_status(container).state is ContainerState.RUNNING
        await service.remove_pod_sandbox(other)
        assert [each.id for each in service.list_pod_sandboxes()] == [quiet]


async def test_a_pod_may_be_made_again_whose_sandbox_was_being_made_when_the_daemon_was_killed(world):
    _, other = await two_pods(world)
    world.change(SandboxRecord, other, state=SandboxState.STARTING)
    async with world.daemon(memory_budget=0, settled=False) as service:
        made = await service.run_pod_sandbox(pod("other"))
        assert made != other
        with pytest.raises(AlreadyExists):
            await service.run_pod_sandbox(pod("quiet"))
        await remove_all(world, service)


async def test_a_stop_gives_back_what_was_being_given_back_and_hung(world, monkeypatch):
    """The plugin that hangs is stopped, and tried again."""
    _, other = await two_pods(world)
    world.change(SandboxRecord, other, state=SandboxState.STARTING)
    tear_down, hung = world.network.tear_down, asyncio.Event()

    async def hanging_once(sandbox_id: str) -> None:
        if not hung.is_set():
            hung.set()
            await hang(None)
        await tear_down(sandbox_id)

    monkeypatch.setattr(world.network, "tear_down", hanging_once)
    async with world.daemon(memory_budget=0, settled=False) as service:
        await hung.wait()
        await remove_all(world, service)


async def test_a_machine_that_dies_while_it_is_taken_back_is_the_reason_at_once(world):
    _, other = await two_pods(world)
    reached = asyncio.Event()

    async def never(_: object) -> None:
        reached.set()
        await hang(None)

    world.transports.agents[other].before["hello"] = never
    async with world.daemon(memory_budget=0, settled=False) as service:
        await reached.wait()
        world.hypervisor.kill(f"vmsandbox-{other}")
        await service.recovered()
        status = service.pod_sandbox_status(other)
        assert (status.state, "virtual machine ended" in status.message) == (NOTREADY, True)


async def test_what_cannot_be_reclaimed_keeps_nobody_from_running_and_is_tried_again(world, caplog):
    one, two = await two_pods(world)
    damage(world, SandboxRecord, one)
    world.network.tear_down_error = Unavailable("the plugin hangs")
    with State(world.directory / "state.db") as state:
        await RuntimeService(world.host(state)).reclaim()
        assert ([each.id for each in state.all(SandboxRecord)], list(state.damaged(SandboxRecord))) == ([two], [one])
    assert caplog.text.count("are not given back: ") == 2
    assert world.hypervisor.machines == {}
    world.network.tear_down_error = None
    with State(world.directory / "state.db") as state:
        await RuntimeService(world.host(state)).reclaim()
        assert (state.all(SandboxRecord), state.damaged(SandboxRecord), world.left()) == ((), {}, [])
