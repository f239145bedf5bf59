"""The control channel: hello, limits, deadlines, cancelling, replacing and coming back."""

import asyncio
import signal
import struct
from pathlib import Path

import pytest

from tests.guest.client import CONTAINER, AgentRefused, Client, Wire, runtime_spec
from vmsandbox.protocol.codec import decode, encode
from vmsandbox.protocol.features import features_of
from vmsandbox.protocol.framing import MAX_FRAME, pack, pack_json, parse_json
from vmsandbox.protocol.messages import (
    CONTROL_PORT,
    REQUESTS,
    STREAM_PORT,
    CreateContainer,
    Envelope,
    Exec,
    Hello,
    HelloReply,
    Kind,
    ListContainers,
    MakeTmpfs,
    OpenPort,
    OpenStream,
    Shutdown,
    SignalContainer,
    StartContainer,
    Stream,
)
from vmsandbox_agent.settings import MAX_REQUESTS


async def greeted(agent: Path) -> Wire:
    wire = await Wire.dial(agent, CONTROL_PORT)
    await wire.send(pack_json(encode(Hello((1,), "test-build"))))
    assert await wire.frame()
    return wire


async def goodbye(wire: Wire) -> str:
    """The reason with which the agent ends the connection, which it then does."""
    payload = await wire.frame()
    assert payload is not None
    envelope = decode(Envelope, parse_json(payload))
    assert envelope.kind is Kind.GOODBYE
    assert await wire.frame() is None
    await wire.close()
    return str(envelope.body)


def request(number: int, method: str, body: object = None, deadline: float = 10) -> bytes:
    return pack_json(encode(Envelope(Kind.REQUEST, number, method, body or {}, deadline)))


async def answer(wire: Wire) -> Envelope:
    payload = await wire.frame()
    assert payload is not None
    return decode(Envelope, parse_json(payload))


async def test_hello_tells_version_build_kernel_and_times(client: Client) -> None:
    assert (client.hello.version, client.hello.build) == (1, "test-build")
    assert client.hello.kernel
    assert len(client.hello.boot_id) == 36
    assert 0 < client.hello.agent_started <= client.hello.uptime


async def test_an_answer_tells_how_long_its_parts_took_to_a_host_that_asks(agent: Path) -> None:
    wire = await greeted(agent)
    body = encode(CreateContainer(CONTAINER, "image", runtime_spec("sleep 100")))
    await wire.send(pack_json(encode(Envelope(Kind.REQUEST, 1, "create_container", body, 30, timed=True))))
    created = await answer(wire)
    assert created.kind is Kind.RESPONSE
    assert [part.name for part in created.parts] == ["bundle", "crun"]
    await wire.send(pack_json(encode(Envelope(Kind.REQUEST, 2, "list_containers", {}, 10, timed=True))))
    (all_of_it,) = (await answer(wire)).parts
    assert all_of_it.name == "work" and all_of_it.seconds < 10 and created.parts[1].seconds > 0
    await wire.send(request(3, "list_containers"))
    assert (await answer(wire)).parts == ()
    await wire.send(request(4, "delete_container", {"container_id": CONTAINER}))
    while (told := await answer(wire)).kind is Kind.EVENT:  # It has ended.
        pass
    assert told.kind is Kind.RESPONSE
    await wire.close()


async def test_the_newest_common_version_is_chosen(agent: Path) -> None:
    for versions, chosen in (((0, 1, 2, 3, 99), 3), ((2, 1), 2), ((1,), 1)):
        client = await Client.connect(agent, versions=versions)
        assert client.hello.version == chosen
        await client.close()


@pytest.mark.parametrize(("versions", "features"), [((1, 2), ()), ((1, 2, 3), features_of(REQUESTS))])
async def test_features_are_named_to_a_host_that_knows_of_them_and_no_other(
    agent: Path, versions: tuple[int, ...], features: tuple[str, ...]
) -> None:
    wire = await Wire.dial(agent, CONTROL_PORT)
    await wire.send(pack_json(encode(Hello(versions, "x"))))
    reply = parse_json(await wire.frame() or b"")
    assert ("features" in reply, decode(HelloReply, reply).features) == (bool(features), features)
    await wire.close()


async def test_without_a_common_version_the_agent_says_so_and_goes(agent: Path) -> None:
    wire = await Wire.dial(agent, CONTROL_PORT)
    await wire.send(pack_json(encode(Hello((99,), "x"))))
    assert decode(HelloReply, parse_json(await wire.frame() or b"")).version == 0
    assert await goodbye(wire) == "the agent speaks the versions (1, 2, 3) only"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (struct.pack(">I", MAX_FRAME + 1), "exceeds the limit"),
        (pack(b"{not json"), "not JSON"),
        (pack(b"\xff\xfe"), "not JSON"),
        (pack(b"[]"), "holds a list"),
        (pack(b'{"kind":"request","surprise":1}'), "unknown field 'surprise'"),
        (pack(b'{"kind":"shout"}'), "'shout' is not one of"),
        (pack(b'{"kind":"event"}'), "a controller must not send event"),
        (pack(b"[" * 100_000), "not JSON"),
    ],
)
async def test_a_broken_frame_ends_the_connection_with_its_reason(agent: Path, data: bytes, reason: str) -> None:
    wire = await greeted(agent)
    await wire.send(data)
    assert reason in await goodbye(wire)
    again = await Client.connect(agent)
    assert (await again.call(ListContainers())).containers == ()
    await again.close()


async def test_a_frame_of_the_largest_size_is_taken(client: Client) -> None:
    empty = encode(Exec("nobody", "e", {"x": ""}))
    overhead = len(request(1, Exec.METHOD, empty)) - 4
    body = encode(Exec("nobody", "e", {"x": "y" * (MAX_FRAME - overhead)}))
    frame = request(1, Exec.METHOD, body)
    assert len(frame) == MAX_FRAME + 4
    wire = await greeted(client.directory)
    await wire.send(frame)
    assert (await answer(wire)).method == "not_found"
    await wire.close()


async def test_a_connection_that_ends_within_a_frame_harms_nobody(agent: Path) -> None:
    wire = await greeted(agent)
    await wire.send(struct.pack(">I", 100) + b"{")
    await wire.close()
    again = await Client.connect(agent)
    await again.call(ListContainers())
    await again.close()


@pytest.mark.parametrize(
    ("method", "body", "deadline", "code", "reason"),
    [
        ("dance", {}, 1, "unimplemented", "no method 'dance'"),
        (StartContainer.METHOD, {}, 1, "invalid_argument", "container_id"),
        (StartContainer.METHOD, {"container_id": 1}, 1, "invalid_argument", "expected str, got int"),
        (StartContainer.METHOD, {"container_id": "a", "b": 1}, 1, "invalid_argument", "unknown field 'b'"),
        (ListContainers.METHOD, {}, 0, "invalid_argument", "has no deadline"),
        (SignalContainer.METHOD, {"container_id": "a", "signal": 0}, 1, "invalid_argument", "signal: not within"),
        (SignalContainer.METHOD, {"container_id": "a", "signal": 65}, 1, "invalid_argument", "signal: not within"),
        (OpenPort.METHOD, {"port": 0}, 1, "invalid_argument", "port: not within"),
        (StartContainer.METHOD, {"container_id": "../a"}, 1, "invalid_argument", "container_id: not within"),
        (MakeTmpfs.METHOD, {"name": "t", "size": 2**70}, 1, "invalid_argument", "size: not within"),
        (OpenPort.METHOD, {"port": 1}, 1, "unavailable", "nothing in the pod answers on localhost:1"),
    ],
)
async def test_a_wrong_request_is_answered_with_an_error(
    agent: Path, method: str, body: object, deadline: float, code: str, reason: str
) -> None:
    wire = await greeted(agent)
    await wire.send(request(7, method, body, deadline))
    envelope = await answer(wire)
    assert (envelope.kind, envelope.id, envelope.method) == (Kind.ERROR, 7, code)
    assert reason in envelope.body
    await wire.send(request(8, ListContainers.METHOD))
    assert (await answer(wire)).kind is Kind.RESPONSE
    await wire.close()


async def test_a_request_past_its_deadline_is_undone_and_says_so(client: Client) -> None:
    with pytest.raises(AgentRefused, match=r"create_container did not end within 0\.2 s") as refused:
        await client.call(_hanging(), deadline=0.2)
    assert refused.value.code == "deadline_exceeded"
    assert (await client.call(ListContainers())).containers == ()
    await client.create("true")


async def test_a_cancelled_request_is_undone_and_says_so(client: Client) -> None:
    number, pending = await client.begin(_hanging())
    with pytest.raises(AgentRefused, match="exists"):  # The creation has begun, and has the id.
        await client.create("true")
    await client.cancel(number)
    envelope = await pending
    assert (envelope.kind, envelope.method) == (Kind.ERROR, "cancelled")
    assert (await client.call(ListContainers())).containers == ()
    await client.create("true")


async def test_the_requests_of_a_controller_that_goes_are_cancelled(agent: Path) -> None:
    first = await Client.connect(agent)
    await first.begin(_hanging())
    await first.close()
    second = await Client.connect(agent)
    await second.create("true")
    await second.close()


async def test_cancelling_what_does_not_run_is_nothing(client: Client) -> None:
    await client.cancel(12345)
    await client.call(ListContainers())


async def test_requests_beyond_the_limit_are_refused(client: Client) -> None:
    running = [(await client.begin(_hanging(f"c{number}")))[0] for number in range(MAX_REQUESTS)]
    with pytest.raises(AgentRefused, match=f"{MAX_REQUESTS} requests are running") as refused:
        await client.call(ListContainers())
    assert refused.value.code == "resource_exhausted"
    for number in running:
        await client.cancel(number)


async def test_a_new_controller_replaces_the_old_one(agent: Path) -> None:
    old = await Client.connect(agent)
    await old.create("echo -n x; sleep 1000")
    await old.call(StartContainer(CONTAINER))
    stdout = await old.stream(Stream.STDOUT)
    assert await stdout.chunk() == b"x"
    unused = await old.call(OpenStream(CONTAINER, Stream.STDERR))
    new = await Client.connect(agent)
    assert await old.goodbye == "replaced by a newer controller"
    assert await stdout.chunk() is None
    assert [state.status for state in (await new.call(ListContainers())).containers] == ["running"]
    assert await (await old.present(unused)).chunk() is None  # Its token is void.
    await old.close()
    await new.close()


async def test_a_connection_without_hello_replaces_nobody(client: Client) -> None:
    wire = await Wire.dial(client.directory, CONTROL_PORT)
    await wire.send(pack(b"{}"))
    assert "Hello" in await goodbye(wire)
    await client.call(ListContainers())


async def test_events_are_sent_again_until_acknowledged(agent: Path) -> None:
    first = await Client.connect(agent)
    for name in ("c1", "c2"):
        await first.create("exit 1", name)
        await first.call(StartContainer(name))
        number, event = await first.events.get()
        assert event.container_id == name
    await first.close()

    second = await Client.connect(agent)
    assert [(await second.events.get())[1].container_id for _ in range(2)] == ["c1", "c2"]
    await second.close()

    third = await Client.connect(agent, acknowledged=number - 1)
    resent, event = await third.events.get()
    assert (resent, event.container_id) == (number, "c2")
    await third.acknowledge(resent)
    await third.call(ListContainers())
    await third.close()

    fourth = await Client.connect(agent)
    await fourth.call(ListContainers())
    assert fourth.events.empty()
    await fourth.close()


async def test_a_host_that_comes_back_misses_neither_output_nor_the_end(agent: Path) -> None:
    first = await Client.connect(agent)
    await first.create("echo -n before-; read x; echo after; exit 8", stdin=True)
    await first.call(StartContainer(CONTAINER))
    stdout = await first.stream(Stream.STDOUT)
    assert await stdout.read_until(b"-") == b"before-"
    stdin = await first.stream(Stream.STDIN)
    await stdin.write(b"\n")
    assert [await stdin.acknowledged(), await stdin.acknowledged()] == [0, 1]
    await first.close()

    second = await Client.connect(agent)
    rest = await second.stream(Stream.STDOUT, offset=len("before-"))
    assert await rest.read_all() == b"after\n"
    assert (await second.exit()).exit_code == 8
    await second.close()


async def test_a_slow_request_holds_up_no_other(client: Client) -> None:
    await client.create("trap '' TERM; exec sleep 1000")
    await client.call(StartContainer(CONTAINER))
    _, slow = await client.begin(_hanging("c2"))
    await client.call(SignalContainer(CONTAINER, signal.SIGTERM))
    assert not slow.done()


async def test_a_port_is_forwarded_with_half_close(client: Client) -> None:
    async def answer_reversed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read())[::-1])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_reversed, "127.0.0.1", 0)
    token = await client.call(OpenPort(server.sockets[0].getsockname()[1]))
    stream = await client.present(token)
    await stream.write(b"abc")
    await stream.write(b"def")
    await stream.write(b"")
    assert await stream.chunk() == b"fedcba"
    assert await stream.chunk() == b""
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("first", [b"nonsense", b"{}", b'{"token":"x"}', b"x" * 5000])
async def test_a_stream_without_a_token_is_closed(agent: Path, first: bytes) -> None:
    wire = await Wire.dial(agent, STREAM_PORT)
    await wire.send(pack(first))
    assert await wire.frame() is None
    await wire.close()


async def test_shutdown_kills_and_ends_the_machine(client: Client) -> None:
    await client.create("trap '' TERM; sleep 1000")
    await client.call(StartContainer(CONTAINER))
    await client.begin(Shutdown())
    assert await client.goodbye is None


def _hanging(container_id: str = CONTAINER) -> CreateContainer:
    """A creation that does not end: crun waits for its hook."""
    hook = {"path": "/bin/sleep", "args": ["sleep", "1000"]}
    return CreateContainer(container_id, "image", {**runtime_spec("true"), "hooks": {"createRuntime": [hook]}})
