"""The remote-command and port-forward machines over every transport, driven by a client of ours."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.errors import Internal
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming.protocol import command_status, remote_command, stream_pairs
from vmsandbox.streaming.protocol.channels import WebSocketChannels
from vmsandbox.streaming.protocol.command_status import CommandStatus
from vmsandbox.streaming.protocol.multiplexer import Closed, Data, Ended, Event, Multiplexer, Reset
from vmsandbox.streaming.protocol.port_forward import (
    GaveUp,
    PortForward,
    PortInput,
    PortInputEnded,
    Requested,
    Waiting,
)
from vmsandbox.streaming.protocol.remote_command import (
    Input,
    InputEnded,
    RemoteCommand,
    Resized,
    Started,
    Wanted,
)
from vmsandbox.streaming.protocol.spdy import SpdyConnection, frames
from vmsandbox.streaming.protocol.stream_pairs import EARLY_LIMIT, MAX_WAITING
from vmsandbox.streaming.protocol.stream_protocol import Left
from vmsandbox.streaming.protocol.terminal_size import ResizeReader, TerminalSize
from vmsandbox.streaming.protocol.tunnel import Tunnel
from vmsandbox.streaming.protocol.versions import (
    SPDY_COMMANDS,
    WEBSOCKET_COMMANDS,
    WEBSOCKET_PORTS,
    CommandVersion,
    choose,
)

ALL = Wanted(stdin=True, stdout=True, stderr=True)
TERMINAL = Wanted(stdin=True, stdout=True, tty=True)
VERSIONS = [*SPDY_COMMANDS, *WEBSOCKET_COMMANDS]


def command_of(version: CommandVersion, wanted: Wanted) -> tuple[Multiplexer, RemoteCommand]:
    """A client's multiplexer and the machine, before any stream is opened."""
    client: Multiplexer
    server: Multiplexer
    if version.channels is not None:
        channels = remote_command.channel_headers(wanted)
        client = WebSocketChannels(version.channels, channels, server=False)
        server = WebSocketChannels(version.channels, channels, server=True)
    else:
        client, server = SpdyConnection(server=False), SpdyConnection(server=True)
    return client, RemoteCommand(server, version, wanted)


def open_streams(client: Multiplexer, machine: RemoteCommand, kinds: tuple[str, ...]) -> dict[str, int]:
    streams = {kind: client.open({remote_command.STREAM_TYPE: kind}) for kind in kinds}
    assert machine.receive(client.output())[-1:] == [Started()]
    client.receive(machine.take_output())
    return streams


def kinds_of(version: CommandVersion, wanted: Wanted) -> tuple[str, ...]:
    return wanted.types(resize=version.resize)


def got(client: Multiplexer, machine: RemoteCommand | PortForward) -> dict[int, bytes]:
    """What the client has got on each stream."""
    result: dict[int, bytes] = {}
    for event in client.receive(machine.take_output()):
        if isinstance(event, Data):
            result[event.stream] = result.get(event.stream, b"") + event.data
    return result


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"{version.name or 'none'}")
def test_a_command_of_every_version(version: CommandVersion) -> None:
    client, machine = command_of(version, ALL)
    streams = open_streams(client, machine, kinds_of(version, ALL))
    client.send(streams["stdin"], b"typed")
    assert machine.receive(client.output()) == [Input(b"typed")]
    machine.send(Stream.STDOUT, b"out")
    machine.send(Stream.STDERR, b"err")
    assert got(client, machine) == {streams["stdout"]: b"out", streams["stderr"]: b"err"}
    machine.finish(CommandStatus(7))
    told = got(client, machine)[streams["error"]]
    if version.json_status:
        assert command_status.decode(told).exit_code == 7
    else:
        assert b"exit code 7" in told


@pytest.mark.parametrize("version", [*SPDY_COMMANDS, WEBSOCKET_COMMANDS[0]], ids=lambda version: version.name)
def test_the_end_of_the_input_is_told(version: CommandVersion) -> None:
    client, machine = command_of(version, ALL)
    streams = open_streams(client, machine, kinds_of(version, ALL))
    client.send(streams["stdin"], b"last")
    client.end(streams["stdin"])
    assert machine.receive(client.output()) == [Input(b"last"), InputEnded()]


@pytest.mark.parametrize("version", [v for v in VERSIONS if v.resize], ids=lambda version: f"{version.name or 'none'}")
def test_the_window_of_a_terminal_is_told(version: CommandVersion) -> None:
    client, machine = command_of(version, TERMINAL)
    streams = open_streams(client, machine, kinds_of(version, TERMINAL))
    client.send(streams["resize"], TerminalSize(80, 24).encode() + TerminalSize(0, 0).encode())
    assert machine.receive(client.output()) == [Resized(TerminalSize(80, 24))]


def test_at_the_end_every_stream_of_spdy_ends_in_order() -> None:
    client, machine = command_of(SPDY_COMMANDS[0], ALL)
    streams = open_streams(client, machine, kinds_of(SPDY_COMMANDS[0], ALL))
    machine.send(Stream.STDOUT, b"last words")
    machine.finish(CommandStatus(0))
    events = client.receive(machine.take_output())
    assert events[0] == Data(streams["stdout"], b"last words")
    assert [event.stream for event in events if isinstance(event, Ended)] == [
        streams[kind] for kind in ("stdout", "stderr", "error", "stdin")
    ]
    assert events[-1] == Closed()


def test_input_before_all_streams_are_there_is_kept() -> None:
    client, machine = command_of(SPDY_COMMANDS[0], Wanted(stdin=True, stdout=True))
    client.open({remote_command.STREAM_TYPE: "error"})
    stdin = client.open({remote_command.STREAM_TYPE: "stdin"})
    assert machine.receive(client.output()) == []
    client.receive(machine.take_output())
    client.send(stdin, b"early")
    assert machine.receive(client.output()) == [Input(b"early")]
    client.open({remote_command.STREAM_TYPE: "stdout"})
    assert machine.receive(client.output()) == [Started()]


@pytest.mark.parametrize("kind", ["stdout", "resize", "nonsense", ""])
def test_a_stream_twice_or_not_asked_for_is_reset(kind: str) -> None:
    client, machine = command_of(SPDY_COMMANDS[0], ALL)
    open_streams(client, machine, kinds_of(SPDY_COMMANDS[0], ALL))
    stray = client.open({remote_command.STREAM_TYPE: kind} if kind else {})
    assert machine.receive(client.output()) == []
    assert Reset(stray) in client.receive(machine.take_output())


def test_output_that_was_not_asked_for_is_thrown_away() -> None:
    client, machine = command_of(SPDY_COMMANDS[0], Wanted(stdout=True))
    open_streams(client, machine, ("error", "stdout"))
    assert machine.room(Stream.STDERR) > 0
    machine.send(Stream.STDERR, b"x")
    assert machine.take_output() == b""


@pytest.mark.parametrize("version", [SPDY_COMMANDS[0], WEBSOCKET_COMMANDS[0]], ids=["SPDY", "WebSocket"])
def test_a_client_that_closes_has_left(version: CommandVersion) -> None:
    client, machine = command_of(version, ALL)
    open_streams(client, machine, kinds_of(version, ALL))
    client.close()
    assert machine.receive(client.output()) == [Left()]
    assert machine.over
    assert machine.receive(b"more") == []


def test_input_is_credited_when_it_was_taken_and_not_before() -> None:
    client, machine = command_of(SPDY_COMMANDS[0], Wanted(stdin=True))
    streams = open_streams(client, machine, ("error", "stdin"))
    client.send(streams["stdin"], bytes(60_000))
    machine.receive(client.output())
    assert machine.take_output() == b""
    machine.consumed(60_000)
    client.receive(machine.take_output())
    assert client.room(streams["stdin"]) == 64 * 1024


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (CommandStatus(0), {"status": "Success"}),
        (
            CommandStatus(3),
            {
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "message": "command terminated with non-zero exit code: exit code 3",
                "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
            },
        ),
        (
            CommandStatus(None, "no such file"),
            {
                "status": "Failure",
                "reason": "InternalError",
                "message": "Internal error occurred: no such file",
                "code": 500,
            },
        ),
    ],
)
def test_a_status_is_that_of_kubernetes(told: CommandStatus, expected: Mapping[str, object]) -> None:
    assert json.loads(told.encode(as_json=True)) == expected
    assert command_status.decode(told.encode(as_json=True)).exit_code == told.exit_code


@given(st.binary(max_size=100) | st.from_type(dict).map(lambda value: json.dumps(value, default=str).encode()))
def test_a_status_of_any_content_is_understood_or_refused(data: bytes) -> None:
    try:
        command_status.decode(data)
    except Internal as error:
        assert "status" in error.evidence


@given(
    st.lists(st.builds(TerminalSize, st.integers(1, 65535), st.integers(1, 65535)), max_size=6),
    st.integers(min_value=1, max_value=20),
)
def test_sizes_come_out_as_they_went_in_however_they_are_cut(sizes: list[TerminalSize], cut: int) -> None:
    data = b"".join(size.encode() for size in sizes)
    reader = ResizeReader()
    read = [size for start in range(0, len(data), cut) for size in reader.feed(data[start : start + cut])]
    assert read == sizes


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_sizes_of_any_content_never_raise(pieces: list[bytes]) -> None:
    reader = ResizeReader()
    for piece in pieces:
        reader.feed(piece)


@pytest.mark.parametrize("garbage", [b"no", b"[1]", b'{"Width":' + b"1" * 5000, b"[" * 5000])
def test_after_a_malformed_size_none_is_taken(garbage: bytes) -> None:
    reader = ResizeReader()
    assert reader.feed(garbage) == []
    assert reader.feed(TerminalSize(80, 24).encode()) == []


def test_the_first_version_of_the_clients_list_that_is_known_is_chosen() -> None:
    chosen = choose(["v9.channel.k8s.io", "v2.channel.k8s.io", "v4.channel.k8s.io"], SPDY_COMMANDS)
    assert chosen is not None
    assert chosen.name == "v2.channel.k8s.io"
    assert choose(["v9.channel.k8s.io"], SPDY_COMMANDS) is None
    nameless = choose([], WEBSOCKET_COMMANDS)
    assert nameless is not None
    assert nameless.name == ""


def ports_of(transport: str) -> tuple[Multiplexer, PortForward]:
    if transport == "tunnel":
        return Tunnel(server=False), PortForward(Tunnel(server=True))
    return SpdyConnection(server=False), PortForward(SpdyConnection(server=True))


def open_pair(client: Multiplexer, machine: PortForward, request: str = "0", port: int = 80) -> tuple[int, int]:
    headers = {stream_pairs.PORT: str(port), stream_pairs.REQUEST_ID: request}
    error = client.open({stream_pairs.STREAM_TYPE: "error", **headers})
    data = client.open({stream_pairs.STREAM_TYPE: "data", **headers})
    assert machine.receive(client.output())[-1] == Requested(data, port)
    client.receive(machine.take_output())
    return data, error


@pytest.mark.parametrize("transport", ["SPDY", "tunnel"])
def test_connections_to_ports_are_kept_apart(transport: str) -> None:
    client, machine = ports_of(transport)
    first, _ = open_pair(client, machine, "0", 80)
    second, _ = open_pair(client, machine, "1", 81)
    client.send(second, b"b")
    client.send(first, b"a")
    assert machine.receive(client.output()) == [PortInput(second, b"b"), PortInput(first, b"a")]
    machine.send(first, b"A")
    assert got(client, machine) == {first: b"A"}


def test_each_direction_of_a_connection_ends_by_itself() -> None:
    client, machine = ports_of("SPDY")
    data, error = open_pair(client, machine)
    client.end(error)
    client.end(data)
    assert machine.receive(client.output()) == [PortInputEnded(data)]
    machine.send(data, b"answer")
    machine.finish(data)
    events: list[Event] = client.receive(machine.take_output())
    assert events == [Data(data, b"answer"), Ended(data), Ended(error)]


def test_a_port_that_cannot_be_had_is_told_on_the_error_stream_before_the_reset() -> None:
    client, machine = ports_of("SPDY")
    data, error = open_pair(client, machine)
    machine.fail(data, "nobody listens")
    events = client.receive(machine.take_output())
    assert events == [Data(error, b"nobody listens"), Ended(error), Reset(data)]


def test_a_reset_gives_a_connection_up_and_no_other() -> None:
    client, machine = ports_of("SPDY")
    first, _ = open_pair(client, machine, "0")
    second, _ = open_pair(client, machine, "1")
    client.reset(first)
    client.send(second, b"x")
    assert machine.receive(client.output()) == [GaveUp(first), PortInput(second, b"x")]


def test_a_pair_without_request_ids_is_found_by_its_streams_numbers() -> None:
    client, machine = ports_of("SPDY")
    client.open({stream_pairs.STREAM_TYPE: "error", stream_pairs.PORT: "80"})
    data = client.open({stream_pairs.STREAM_TYPE: "data", stream_pairs.PORT: "80"})
    assert machine.receive(client.output()) == [Waiting(0), Requested(data, 80)]


def test_what_a_data_stream_brings_before_its_pair_is_complete_is_kept() -> None:
    client, machine = ports_of("SPDY")
    headers = {stream_pairs.PORT: "80", stream_pairs.REQUEST_ID: "0"}
    data = client.open({stream_pairs.STREAM_TYPE: "data", **headers})
    machine.receive(client.output())
    client.receive(machine.take_output())
    client.send(data, b"early")
    client.end(data)
    assert machine.receive(client.output()) == []
    client.open({stream_pairs.STREAM_TYPE: "error", **headers})
    assert machine.receive(client.output()) == [Requested(data, 80), PortInput(data, b"early"), PortInputEnded(data)]


def test_an_incomplete_pair_that_brings_too_much_is_reset() -> None:
    client, machine = ports_of("SPDY")
    data = client.open({stream_pairs.STREAM_TYPE: "data", stream_pairs.PORT: "80", stream_pairs.REQUEST_ID: "0"})
    machine.receive(client.output())
    client.receive(machine.take_output())
    client.send(data, bytes(EARLY_LIMIT))
    assert machine.receive(client.output()) == []
    assert client.receive(machine.take_output()) == []
    client.send(data, b"x")
    assert machine.receive(client.output()) == []
    told = machine.take_output()
    assert frames.window_update(0, EARLY_LIMIT + 1) in told
    assert client.receive(told) == [Reset(data)]


def test_a_pair_whose_other_stream_does_not_come_expires() -> None:
    client, machine = ports_of("SPDY")
    error = client.open({stream_pairs.STREAM_TYPE: "error", stream_pairs.PORT: "80", stream_pairs.REQUEST_ID: "0"})
    (waiting,) = machine.receive(client.output())
    assert isinstance(waiting, Waiting)
    client.receive(machine.take_output())
    machine.expire(waiting.pair)
    machine.expire(waiting.pair)
    assert got(client, machine)[error].startswith(b"timed out")


@pytest.mark.parametrize(
    "headers",
    [
        {"streamtype": "data"},
        {"streamtype": "data", "port": "0"},
        {"streamtype": "data", "port": "65536"},
        {"streamtype": "data", "port": "eighty"},
        {"streamtype": "other", "port": "80"},
        {"port": "80"},
    ],
)
def test_a_stream_without_a_port_or_kind_is_reset(headers: dict[str, str]) -> None:
    client, machine = ports_of("SPDY")
    stray = client.open(headers)
    assert machine.receive(client.output()) == []
    assert client.receive(machine.take_output()) == [Reset(stray)]


def test_the_two_streams_of_a_pair_name_one_port() -> None:
    client, machine = ports_of("SPDY")
    client.open({stream_pairs.STREAM_TYPE: "error", stream_pairs.PORT: "80", stream_pairs.REQUEST_ID: "0"})
    other = client.open({stream_pairs.STREAM_TYPE: "data", stream_pairs.PORT: "81", stream_pairs.REQUEST_ID: "0"})
    assert machine.receive(client.output()) == [Waiting(0)]
    assert Reset(other) in client.receive(machine.take_output())


def test_pairs_that_wait_are_bounded() -> None:
    client, machine = ports_of("SPDY")
    for number in range(MAX_WAITING + 5):
        client.open({stream_pairs.STREAM_TYPE: "error", stream_pairs.PORT: "80", stream_pairs.REQUEST_ID: str(number)})
    assert len(machine.receive(client.output())) == MAX_WAITING
    assert len([event for event in client.receive(machine.take_output()) if isinstance(event, Reset)]) == 5


def test_over_channels_both_streams_begin_with_their_port_and_the_last_end_is_the_connections() -> None:
    channels = stream_pairs.channel_headers((80, 443))
    protocol = WEBSOCKET_PORTS[1].channels
    assert protocol is not None
    client = WebSocketChannels(protocol, channels, server=False)
    machine = PortForward(WebSocketChannels(protocol, channels, server=True), tells_ports=True)
    events = machine.receive(b"")
    assert [event for event in events if isinstance(event, Requested)] == [Requested(0, 80), Requested(2, 443)]
    assert got(client, machine) == {0: b"\x50\0", 1: b"\x50\0", 2: b"\xbb\x01", 3: b"\xbb\x01"}
    machine.finish(0)
    assert not machine.finished
    machine.fail(2, "refused")
    assert machine.finished
    assert client.receive(machine.take_output()) == [Data(3, b"refused"), Closed()]
