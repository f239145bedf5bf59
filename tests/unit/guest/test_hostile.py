"""A guest that breaks the protocol: every connection ends with a reason, and the host keeps its bounds."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.agent import FakeAgent
from tests.fakes.transport import UnixTransport
from tests.support.waiting import until
from tests.unit.guest.test_session import exit_of, hang
from vmsandbox.errors import DeadlineExceeded, Unavailable
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.session import RunState, Session
from vmsandbox.guest.session.events import MAX_WAITING, EventPump
from vmsandbox.guest.session.untrusted_text import first_line, printable
from vmsandbox.guest.streams import opening
from vmsandbox.protocol.codec import JSON, encode
from vmsandbox.protocol.framing import ProtocolError, pack, pack_json
from vmsandbox.protocol.messages import (
    AGENT_FRAME,
    Containers,
    Envelope,
    Event,
    Kind,
    ListContainers,
    MeasureContainers,
    Stream,
)


def event(number: int, method: str = "exit", body: JSON = None) -> bytes:
    return pack_json(encode(Envelope(Kind.EVENT, number, method, body or encode(exit_of("c1")))))


HOSTILE = {
    "a frame over the limit": ((AGENT_FRAME + 1).to_bytes(4, "big"), "exceeds the limit"),
    "no JSON": (pack(b"\xff\xfe"), "not JSON"),
    "no object": (pack(b"[]"), "list"),
    "deeply nested": (pack(b'{"kind":"event","body":' + b"[" * 30_000 + b"]" * 30_000 + b"}"), "nested deeper than 32"),
    "nested and never closed": (pack(b"[" * 60_000), "not JSON"),
    "an event that came before": (event(1) + event(1), "event 1 came after event 1"),
    "an unknown kind": (pack(b'{"kind":"shout"}'), "shout"),
    "an unknown field": (pack(b'{"kind":"event","more":1}'), "more"),
    "an answer nobody waits for": (pack(b'{"kind":"response","id":77}'), "77"),
    "a request": (pack(b'{"kind":"request","id":1,"method":"exec"}'), "request"),
    "an unknown event": (event(1, "birthday"), "birthday"),
    "an event that is malformed": (event(1, body={"container_id": 5}), "container_id"),
    "an event with a monstrous id": (event(1, body=encode(exit_of("x" * 1000))), "container_id: not within"),
    "control characters": (pack(b'{"kind":"\\u001b[2J"}'), ""),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_broken_frame_ends_the_connection_with_a_reason(name: str, agent: FakeAgent, session: Session) -> None:
    data, reason = HOSTILE[name]
    agent.before["list_containers"] = hang
    request = asyncio.create_task(session.request(ListContainers(), 60))
    await until(lambda: agent.requests)
    await agent.say(data)
    with pytest.raises(Unavailable, match="broke the protocol") as caught:
        await request
    assert reason in str(caught.value)
    assert "\x1b" not in str(caught.value)
    await until(lambda: session.state is RunState.CONNECTED and len(agent.hellos) == 2)


async def test_a_malformed_answer_fails_its_request_alone(agent: FakeAgent, session: Session) -> None:
    """An older agent may measure with other names; that must not end its execs."""
    agent.before = {"measure_containers": hang, "list_containers": hang}
    measured = asyncio.create_task(session.request(MeasureContainers(), 60))
    await until(lambda: len(agent.requests) == 1)
    other = asyncio.create_task(session.request(ListContainers(), 60))
    await until(lambda: len(agent.requests) == 2)
    old = {"at": 1, "containers": [{"container_id": "c1", "cpu": 5, "memory": 6}]}
    await agent.say(pack_json(encode(Envelope(Kind.RESPONSE, 1, body=old))))
    with pytest.raises(Unavailable, match=r"malformed answer.*cpu: expected dict, got int"):
        await measured
    await agent.say(pack_json(encode(Envelope(Kind.RESPONSE, 2, body=encode(Containers())))))
    assert await other == Containers()
    assert len(agent.hellos) == 1


async def test_an_answer_given_twice_ends_the_connection(agent: FakeAgent, session: Session) -> None:
    await session.request(ListContainers(), 10)
    await agent.say(pack(b'{"kind":"response","id":1,"body":{}}'))
    await until(lambda: session.state is RunState.LOST)


async def test_a_frame_cut_by_the_end_is_told(agent: FakeAgent, session: Session) -> None:
    await agent.say(b"\x00\x00\x00\x10half")
    await agent.hang_up()
    await until(lambda: session.state is RunState.LOST)
    assert "within a frame" in str(session.reason)


async def test_a_flood_of_events_ends_the_connection(agent: FakeAgent, session: Session) -> None:
    await agent.say(b"".join(event(number) for number in range(1, MAX_WAITING + 3)))
    await until(lambda: session.state is RunState.LOST)
    assert "events are waiting" in str(session.reason)


async def test_a_goodbye_is_final(agent: FakeAgent, session: Session) -> None:
    await agent.say(pack_json(encode(Envelope(Kind.GOODBYE, body="powering off\x1b[2J"))))
    reason = await session.wait_closed()
    assert "powering off" in str(reason) and "\x1b" not in str(reason)
    assert len(agent.hellos) == 1


@pytest.mark.parametrize("answer", [b"", pack(b"{}"), pack(b"nonsense"), b"\xff\xff\xff\xff", b"\x00\x00"])
async def test_a_peer_that_says_no_proper_hello_is_dialled_again_until_the_deadline(
    answer: bytes, tmp_path: Path
) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(tmp_path / "1024.sock"))
    async with server, Session(UnixTransport(tmp_path), "pod", hang) as session:
        with pytest.raises(DeadlineExceeded, match="hello failed"):
            await session.connect(0.3)


@pytest.mark.parametrize("frame", [pack(b"x" * 16385), b"\xff\xff\xff\xff", b"\x00\x00"])
async def test_a_stream_with_broken_frames_is_given_up(
    frame: bytes, agent: FakeAgent, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_LONGEST_PAUSE", 0.01)

    async def serve(connection: object) -> None:
        await connection.send(frame)  # type: ignore[attr-defined]

    async def open_stream(_: object) -> object:
        return agent._offer(serve)

    agent._open_stream = open_stream  # type: ignore[assignment,method-assign]
    async with GuestClient(session).output("c1", Stream.STDOUT) as output:
        with pytest.raises(Unavailable, match="given up after 8 attempts"):
            await anext(output)


@given(st.lists(st.integers(min_value=-3, max_value=60), max_size=80), st.integers(min_value=0, max_value=20))
def test_events_are_taken_once_and_in_rising_order_however_they_come(numbers: list[int], acknowledged: int) -> None:
    handled: list[str] = []

    async def handler(event: Event) -> None:
        handled.append(event.container_id)

    async def main() -> None:
        pump = EventPump(handler, acknowledged)
        told: list[int] = []
        for number in numbers:
            pump.take(Envelope(Kind.EVENT, number, "exit", encode(exit_of(str(number)))))
        running = asyncio.create_task(pump.run(told.append))
        await until(lambda: pump.acknowledged == max([*numbers, acknowledged]))
        running.cancel()
        await asyncio.wait([running])
        assert told == [int(number) for number in handled]

    asyncio.run(main())
    rising = [int(number) for number in handled]
    assert rising == sorted(set(rising))
    assert all(number > acknowledged for number in rising)


def test_a_full_event_queue_is_the_guests_fault() -> None:
    pump = EventPump(hang, 0)
    for number in range(1, MAX_WAITING + 1):
        pump.take(Envelope(Kind.EVENT, number, "exit", encode(exit_of("c"))))
    with pytest.raises(ProtocolError):
        pump.take(Envelope(Kind.EVENT, MAX_WAITING + 1, "exit", encode(exit_of("c"))))


@given(st.text())
def test_text_from_the_guest_steers_no_terminal(text: str) -> None:
    cleaned = printable(text)
    assert len(cleaned) <= len(text)
    assert not any(
        (ord(character) < 32 and character not in "\n\t") or 127 <= ord(character) < 160 for character in cleaned
    )
    assert not any(character in cleaned for character in "\u202e\u2066\ufeff\u200b")
    assert "\n" not in first_line(text)
    assert len(first_line(text)) <= 301
