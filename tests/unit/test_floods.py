"""Endless or too large data of a guest harms only its own pod; see `tests.performance.floods`."""

import asyncio
import itertools
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.host import MIB, FakeWorld, app, pod
from tests.fakes.measures import measures
from tests.fakes.processes import FakeProcess
from tests.fakes.transport import UnixTransport
from tests.support.waiting import until
from tests.unit.guest.test_session import hang
from vmsandbox.errors import Unavailable
from vmsandbox.fairness import UNBROKEN, Fairness
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.session import RunState, Session, control
from vmsandbox.guest.session import session as session_module
from vmsandbox.guest.session.control import MAX_BRACKETS
from vmsandbox.guest.streams import opening
from vmsandbox.guest.transport.connection import GuestConnection
from vmsandbox.model import ContainerState
from vmsandbox.protocol.codec import encode
from vmsandbox.protocol.framing import pack, pack_json
from vmsandbox.protocol.messages import (
    AGENT_FRAME,
    LARGE_ANSWERS,
    MAX_CONTAINERS,
    Envelope,
    Exit,
    Kind,
    Measured,
    Stream,
)
from vmsandbox.service import RuntimeService
from vmsandbox.state import State


class CountingState(State):
    """Counts what is written."""

    writes = 0

    def put(self, key: str, record: Any) -> None:
        self.writes += 1
        super().put(key, record)


async def test_an_exit_that_is_told_again_writes_nothing(tmp_path: Path) -> None:
    world = FakeWorld(tmp_path)
    with CountingState(tmp_path / "state.db") as state:
        async with RuntimeService(world.host(state, memory_budget=1024 * MIB)).running() as service:
            sandbox = await service.run_pod_sandbox(pod())
            container = await service.create_container(sandbox, app())
            await service.start_container(container)
            agent = world.transports.agents[sandbox]
            await agent.emit(Exit(container, 3, 5))
            await until(lambda: agent.events == {})
            before = state.writes
            for code in range(100):
                await agent.emit(Exit(container, code, 7))
                await agent.emit(Exit("a-stranger", code, 7))
            await until(lambda: agent.events == {})
            assert state.writes == before
            await service.stop_container(container, 0)
            status = await service.wait_container(container)
            assert (status.state, status.exit_code) == (ContainerState.EXITED, 3)
            await service.remove_pod_sandbox(sandbox)
    await world.transports.aclose()


async def test_a_flood_of_tiny_chunks_leaves_the_event_loop_its_turns(agent: FakeAgent, session: Session) -> None:
    """65536 bytes that were received at once are 13107 chunks of one byte; they were taken in one turn."""

    async def serve(connection: GuestConnection) -> None:
        while True:
            await connection.send(pack(b"\n") * 10_000)

    async def open_stream(_: object) -> object:
        return agent._offer(serve)

    agent._open_stream = open_stream  # type: ignore[assignment,method-assign]
    turns = itertools.count()
    seen: list[int] = []

    async def count() -> None:
        while True:
            next(turns)
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    async with GuestClient(session).output("c1", Stream.STDOUT) as output:
        taken = 0
        while taken < 2000:
            taken += len(await anext(output))
            seen.append(next(turns))
    counting.cancel()
    in_one_turn = max(len(list(group)) for _, group in itertools.groupby(seen))
    assert in_one_turn * UNBROKEN <= 4 * UNBROKEN
    assert len(set(seen)) > 20


async def test_guests_have_their_share_on_every_connection(agent: FakeAgent, tmp_path: Path) -> None:
    fairness = Fairness()
    async with Session(UnixTransport(tmp_path), "pod", hang, fairness=fairness) as session:
        await session.connect(10)
        before = session.share._unbroken
        await GuestClient(session).list_containers()
        assert session.share._unbroken > before
        assert session.log_share._unbroken == 0


async def test_a_container_that_prints_without_end_does_not_delay_the_answers_of_its_guest(
    agent: FakeAgent, session: Session
) -> None:
    session.log_share.charge(1000)
    assert await GuestClient(session).list_containers() == ()
    process = agent.processes["c1", ""] = FakeProcess((), stdin=False, tty=False)
    await process.write(b"line")
    async with GuestClient(session).output("c1", Stream.STDOUT) as output:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(output), 0.1)


async def test_an_answer_that_may_be_large_is_taken_when_it_is_due_and_not_otherwise(
    agent: FakeAgent, session: Session
) -> None:
    many = Measured(1, tuple(measures(f"c{number}") for number in range(MAX_CONTAINERS)))
    assert len(pack_json(encode(many))) > AGENT_FRAME
    agent.answers["measure_containers"] = lambda _: many
    assert await GuestClient(session).measure_containers() == many
    agent.answers["list_containers"] = lambda _: many
    with pytest.raises(Unavailable, match="exceeds the limit of 65536"):
        await GuestClient(session).list_containers()


async def test_a_large_frame_is_parsed_outside_the_event_loop(
    agent: FakeAgent, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[bool, set[int]] = {True: set(), False: set()}

    def note(payload: bytes) -> Envelope:
        threads[len(payload) > AGENT_FRAME].add(threading.get_ident())
        return parse(payload)

    parse = control._envelope
    monkeypatch.setattr(control, "_envelope", note)
    agent.answers["measure_containers"] = lambda _: Measured(1, tuple(measures(f"c{n}") for n in range(MAX_CONTAINERS)))
    await GuestClient(session).measure_containers()
    await GuestClient(session).list_containers()
    assert threads[False] == {threading.get_ident()}
    assert threads[True] and not threads[True] & threads[False]


async def test_a_large_frame_of_nothing_but_arrays_ends_the_connection_unparsed(
    agent: FakeAgent, session: Session
) -> None:
    """Half a MiB of empty arrays took 60 ms in one call of the JSON parser, also in another thread."""
    arrays: list[list[int]] = [[]] * (MAX_BRACKETS + 15_000)
    assert AGENT_FRAME < len(pack_json({"body": encode(arrays)})) < LARGE_ANSWERS["measure_containers"]
    agent.answers["measure_containers"] = lambda _: arrays
    with pytest.raises(Unavailable, match="arrays and objects"):
        await GuestClient(session).measure_containers()


async def test_a_guest_that_breaks_the_protocol_again_and_again_is_dialled_less_and_less(
    agent: FakeAgent, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(session_module.random, "uniform", lambda low, high: pauses.append(high) or 0)
    for number in range(1, 8):
        await until(lambda: session.state is RunState.CONNECTED and agent._controller is not None)
        await agent.say(pack(b"nonsense"))
        await until(lambda number=number: len(agent.hellos) == number + 1)
    growth = [later / earlier for earlier, later in itertools.pairwise(pauses)]
    assert growth[:3] == [2, 2, 2]
    assert growth[-1] == 1


async def test_a_stream_that_a_guest_ends_again_and_again_is_opened_less_and_less(
    agent: FakeAgent, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(opening.random, "uniform", lambda low, high: pauses.append(high) or 0)

    async def serve(connection: GuestConnection) -> None:
        await connection.send(pack(b"x"))

    async def open_stream(_: object) -> object:
        return agent._offer(serve)

    agent._open_stream = open_stream  # type: ignore[assignment,method-assign]
    async with GuestClient(session).output("c1", Stream.STDOUT) as output:
        for position in range(1, 8):
            output.acknowledge(output.offset + len(await anext(output)))
            assert output.offset == position
    assert [later / earlier for earlier, later in itertools.pairwise(pauses)][:3] == [2, 2, 2]


async def test_an_event_that_goes_back_ends_the_connection_and_one_that_comes_again_with_a_new_one_does_not(
    agent: FakeAgent, session: Session
) -> None:
    def event(number: int) -> bytes:
        return pack_json(encode(Envelope(Kind.EVENT, number, "exit", encode(Exit("c", 0, 1)))))

    await agent.say(event(2))
    await agent.hang_up()
    await until(lambda: len(agent.hellos) == 2 and session.state is RunState.CONNECTED)
    await agent.say(event(2))
    await GuestClient(session).list_containers()
    await agent.say(event(1))
    await until(lambda: len(agent.hellos) == 3)
    assert "event 1 came after event 2" in str(session.reason)
