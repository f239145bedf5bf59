"""The session with an agent that answers, hangs up, comes back and goes away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.agent import FakeAgent, Refusal
from tests.fakes.transport import UnixTransport
from tests.support.waiting import until
from vmsandbox.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    Unavailable,
    VmsandboxError,
)
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.session import RunState, Session, control
from vmsandbox.guest.transport.connection import TransportBroken
from vmsandbox.protocol.messages import CreateContainer, Event, Exit, HelloReply, ListContainers


@pytest.fixture
def transport(tmp_path: Path) -> UnixTransport:
    return UnixTransport(tmp_path)


@pytest.fixture
async def events() -> asyncio.Queue[Event]:
    return asyncio.Queue()


@pytest.fixture
async def session(agent: FakeAgent, transport: UnixTransport, events: asyncio.Queue[Event]) -> AsyncIterator[Session]:
    async with Session(transport, "pod", events.put, build="test-build") as session:
        await session.connect(10)
        yield session


def exit_of(container_id: str) -> Exit:
    return Exit(container_id, 0, 1)


async def hang(_: object) -> None:
    await asyncio.Event().wait()


async def test_a_guest_that_still_boots_is_dialled_until_it_answers(transport: UnixTransport, tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path)
    async with Session(transport, "pod", hang) as session:
        connecting = asyncio.create_task(session.connect(10))
        await until(lambda: transport.dials > 2)
        assert session.state is RunState.CONNECTING
        async with agent:
            assert (await connecting).kernel == "6.12.0"
            assert session.state is RunState.CONNECTED
    assert session.state is RunState.CLOSED


async def test_a_guest_that_never_answers_meets_the_deadline_with_what_was_seen_last(transport: UnixTransport) -> None:
    async with Session(transport, "pod default/web", hang) as session:
        with pytest.raises(DeadlineExceeded, match=r"default/web .* last seen: port 1024: No such file"):
            await session.connect(0.2)
        assert session.state is RunState.IDLE


async def test_a_broken_transport_ends_the_dialling_at_once(transport: UnixTransport) -> None:
    transport.broken = TransportBroken("the vsock daemon has died")
    async with Session(transport, "pod", hang) as session:
        with pytest.raises(TransportBroken, match="daemon"):
            await session.connect(60)
    assert transport.dials == 1


async def test_a_dial_that_the_guest_leaves_unanswered_is_repeated(
    agent: FakeAgent, transport: UnixTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = transport.dial

    async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        monkeypatch.setattr(transport, "dial", answer)
        await hang(port)
        raise AssertionError

    monkeypatch.setattr(control, "DIAL_TIMEOUT", 0.05)
    monkeypatch.setattr(transport, "dial", dial)
    async with Session(transport, "pod", hang) as session:
        await session.connect(30)


async def test_connecting_can_be_given_up(transport: UnixTransport) -> None:
    async with Session(transport, "pod", hang) as session:
        connecting = asyncio.create_task(session.connect(60))
        await until(lambda: transport.dials)
        connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await connecting
        assert session.state is RunState.IDLE


async def test_closing_while_connecting_leaves_no_connection(transport: UnixTransport, tmp_path: Path) -> None:
    session = Session(transport, "pod", hang)
    connecting = asyncio.create_task(session.connect(10))
    await until(lambda: transport.dials)
    await session.aclose()
    async with FakeAgent(tmp_path):
        with pytest.raises(Unavailable, match="closed"):
            await connecting
    assert session.state is RunState.CLOSED


async def test_closing_right_after_connecting_leaves_nothing(agent: FakeAgent, transport: UnixTransport) -> None:
    async with Session(transport, "pod", hang) as session:
        await session.connect(10)


async def test_an_agent_of_another_version_is_refused_with_what_to_do(
    agent: FakeAgent, transport: UnixTransport
) -> None:
    agent.reply = HelloReply(0, "old", "boot", "6.1", 1.0, 1.0)
    async with Session(transport, "pod", hang) as session:
        with pytest.raises(FailedPrecondition) as caught:
            await session.connect(10)
    assert "image build-guest" in caught.value.hint


async def test_requests_are_answered_out_of_order(agent: FakeAgent, session: Session) -> None:
    released = asyncio.Event()

    async def wait(_: object) -> None:
        await released.wait()

    agent.before["start_container"] = wait
    client = GuestClient(session)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_refused(client.start_container("c1")))
        await client.list_containers()
        released.set()


async def test_more_requests_than_the_agent_takes_wait_their_turn(agent: FakeAgent, session: Session) -> None:
    running, most = 0, 0

    async def count(_: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    agent.before["list_containers"] = count
    client = GuestClient(session)
    await asyncio.gather(*(client.list_containers() for _ in range(300)))
    assert most == 64


async def test_a_request_past_its_deadline_is_cancelled_in_the_guest(agent: FakeAgent, session: Session) -> None:
    agent.before["list_containers"] = hang
    with pytest.raises(DeadlineExceeded, match="list_containers in the guest of pod"):
        await session.request(ListContainers(), 0.05)
    await until(lambda: agent.cancelled == ["list_containers"])
    agent.before.clear()
    assert await GuestClient(session).list_containers() == ()


async def test_a_cancelled_request_is_cancelled_in_the_guest(agent: FakeAgent, session: Session) -> None:
    agent.before["list_containers"] = hang
    request = asyncio.create_task(session.request(ListContainers(), 60))
    await until(lambda: agent.requests)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await until(lambda: agent.cancelled == ["list_containers"])


async def test_a_guest_that_answers_no_cancellation_keeps_no_caller_waiting(agent: FakeAgent, session: Session) -> None:
    async def deaf(_: object) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()
                return

    released = asyncio.Event()
    agent.before["list_containers"] = deaf
    outcomes = await asyncio.gather(
        *(session.request(ListContainers(), 0.1) for _ in range(100)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {DeadlineExceeded}
    released.set()
    await session.request(ListContainers(), 10)


async def test_a_refusal_carries_the_guests_words_made_harmless(agent: FakeAgent, session: Session) -> None:
    async def refuse(_: object) -> None:
        raise Refusal("not_found", "no such \x1b[31mimage\ncrun: line two\x07")

    agent.before["start_container"] = refuse
    with pytest.raises(NotFound) as caught:
        await GuestClient(session).start_container("c1")
    assert str(caught.value) == "no such \N{REPLACEMENT CHARACTER}[31mimage"
    assert "crun: line two" in caught.value.evidence["guest"]
    assert "\x07" not in caught.value.report()


async def test_an_unknown_error_code_is_an_internal_error(agent: FakeAgent, session: Session) -> None:
    async def refuse(_: object) -> None:
        raise Refusal("__class__", "x" * 60_000)

    agent.before["start_container"] = refuse
    with pytest.raises(Internal) as caught:
        await GuestClient(session).start_container("c1")
    assert len(caught.value.report()) < 6000


async def test_a_request_too_large_for_a_frame_is_refused_and_harms_nobody(session: Session) -> None:
    client = GuestClient(session)
    with pytest.raises(InvalidArgument, match="too large"):
        await client.create_container(CreateContainer("c1", "image", {"x": "y" * 5_000_000}))
    assert await client.list_containers() == ()


async def test_a_lost_connection_fails_what_was_on_its_way_and_comes_back(agent: FakeAgent, session: Session) -> None:
    agent.before["list_containers"] = hang
    request = asyncio.create_task(session.request(ListContainers(), 60))
    await until(lambda: agent.requests)
    agent.before.clear()
    await agent.hang_up()
    with pytest.raises(Unavailable, match="connection to the agent ended"):
        await request
    assert session.state is RunState.LOST
    assert await session.request(ListContainers(), 10)  # waits for the next connection
    assert session.state is RunState.CONNECTED


async def test_a_request_during_a_long_loss_meets_its_deadline_and_names_the_cause(
    agent: FakeAgent, session: Session
) -> None:
    agent.stop_listening()
    await agent.hang_up()
    await until(lambda: session.state is RunState.LOST)
    with pytest.raises(DeadlineExceeded, match="the connection to the agent ended"):
        await session.request(ListContainers(), 0.1)


async def test_the_death_of_the_transport_closes_the_session_and_is_named_to_all(
    agent: FakeAgent, session: Session, transport: UnixTransport
) -> None:
    agent.before["list_containers"] = hang
    request = asyncio.create_task(session.request(ListContainers(), 60))
    await until(lambda: agent.requests)
    transport.broken = TransportBroken("the vsock daemon has died", evidence={"log": "out of memory"})
    await agent.hang_up()
    reason = await session.wait_closed()
    assert "the vsock daemon has died" in str(reason)
    for waiting in (request, session.request(ListContainers(), 60)):
        with pytest.raises(TransportBroken, match="vsock daemon") as caught:
            await waiting
        assert caught.value.evidence == {"log": "out of memory"}


async def test_a_guest_that_restarted_is_not_taken_for_the_same(agent: FakeAgent, session: Session) -> None:
    agent.reply = HelloReply(1, "test-build", "another boot", "6.12.0", 4.0, 3.5)
    await agent.hang_up()
    assert "restarted" in str(await session.wait_closed())


async def test_closing_fails_pending_requests(agent: FakeAgent, session: Session) -> None:
    agent.before["list_containers"] = hang
    request = asyncio.create_task(session.request(ListContainers(), 60))
    await until(lambda: agent.requests)
    await session.aclose()
    await session.aclose()
    with pytest.raises(Unavailable, match="closed"):
        await request


async def test_events_are_handled_in_order_one_at_a_time_and_then_acknowledged(
    agent: FakeAgent, transport: UnixTransport
) -> None:
    handling: list[str] = []
    proceed = asyncio.Semaphore(0)

    async def handler(event: Event) -> None:
        handling.append(event.container_id)
        await proceed.acquire()

    async with Session(transport, "pod", handler) as session:
        await session.connect(10)
        for name in "abc":
            await agent.emit(exit_of(name))
        for count in range(1, 4):
            await until(lambda count=count: len(handling) == count)
            assert [event.container_id for event in agent.events.values()] == list("abc"[count - 1 :])
            proceed.release()
        await until(lambda: not agent.events)
    assert handling == ["a", "b", "c"]


async def test_a_handler_may_ask_the_guest(agent: FakeAgent, transport: UnixTransport) -> None:
    answers: asyncio.Queue[Any] = asyncio.Queue()

    async def handler(_: Event) -> None:
        await answers.put(await session.request(ListContainers(), 10))

    async with Session(transport, "pod", handler) as session:
        await session.connect(10)
        await agent.emit(exit_of("a"))
        assert (await answers.get()).containers == ()


async def test_events_sent_again_after_a_loss_are_handled_once(agent: FakeAgent, transport: UnixTransport) -> None:
    handled: list[str] = []
    proceed = asyncio.Semaphore(0)

    async def handler(event: Event) -> None:
        await proceed.acquire()
        handled.append(event.container_id)

    async with Session(transport, "pod", handler) as session:
        await session.connect(10)
        for name in "ab":
            await agent.emit(exit_of(name))
        await session.request(ListContainers(), 10)  # Behind the events: both have arrived.
        await agent.hang_up()
        await until(lambda: session.state is RunState.LOST)
        proceed.release()
        await until(lambda: session.state is RunState.CONNECTED and handled == ["a"])
        proceed.release()
        await until(lambda: not agent.events)
        await agent.emit(exit_of("c"))
        proceed.release()
        await until(lambda: not agent.events)
    assert handled == ["a", "b", "c"]
    assert [hello.acknowledged for hello in agent.hellos] == [0, 1]


async def test_a_handler_that_fails_closes_the_session_and_leaves_its_event_to_the_next(
    agent: FakeAgent, transport: UnixTransport
) -> None:
    async def handler(_: Event) -> None:
        raise OSError(28, "No space left on device")

    async with Session(transport, "pod", handler) as session:
        await session.connect(10)
        await agent.emit(exit_of("a"))
        assert "No space left" in str(await session.wait_closed())
    assert len(agent.events) == 1


async def test_a_handler_may_close_the_session(agent: FakeAgent, transport: UnixTransport) -> None:
    async def handler(_: Event) -> None:
        await session.aclose()

    async with Session(transport, "pod", handler) as session:
        await session.connect(10)
        await agent.emit(exit_of("a"))
        await session.wait_closed()


async def _refused(request: Any) -> None:
    with pytest.raises(VmsandboxError):
        await request


async def test_a_guest_that_was_told_to_shut_down_closes_the_session_and_warns_nobody(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    await GuestClient(session).shutdown()
    await session.wait_closed()
    assert caplog.records == []
