"""Remote commands over every transport, without I/O, driven by a client of ours."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.protocols import got
from vmsandbox.errors import Internal
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming.protocol import remote_command
from vmsandbox.streaming.protocol.channels import WebSocketChannels
from vmsandbox.streaming.protocol.command_status import CommandStatus
from vmsandbox.streaming.protocol.multiplexer import Closed, Data, Ended, Multiplexer, Reset
from vmsandbox.streaming.protocol.remote_command import Input, InputEnded, RemoteCommand, Resized, Started, Wanted
from vmsandbox.streaming.protocol.spdy import SpdyConnection
from vmsandbox.streaming.protocol.stream_protocol import Left
from vmsandbox.streaming.protocol.terminal_size import ResizeReader, TerminalSize
from vmsandbox.streaming.protocol.versions import SPDY_COMMANDS, WEBSOCKET_COMMANDS, CommandVersion

ALL = Wanted(stdin=True, stdout=True, stderr=True)


TERMINAL = Wanted(stdin=True, stdout=True, tty=True)


VERSIONS = [*SPDY_COMMANDS, *WEBSOCKET_COMMANDS]


def command_of(version: CommandVersion, wanted: Wanted) -> tuple[Multiplexer, RemoteCommand]:
    """A client's multiplexer and the protocol, before any stream is opened."""
    client: Multiplexer
    server: Multiplexer
    if version.channels is not None:
        channels = remote_command.channel_headers(wanted)
        client = WebSocketChannels(version.channels, channels, server=False)
        server = WebSocketChannels(version.channels, channels, server=True)
    else:
        client, server = SpdyConnection(server=False), SpdyConnection(server=True)
    return client, RemoteCommand(server, version, wanted)


def open_streams(client: Multiplexer, protocol: RemoteCommand, kinds: tuple[str, ...]) -> dict[str, int]:
    streams = {kind: client.open({remote_command.STREAM_TYPE: kind}) for kind in kinds}
    assert protocol.receive(client.output())[-1:] == [Started()]
    client.receive(protocol.take_output())
    return streams


def kinds_of(version: CommandVersion, wanted: Wanted) -> tuple[str, ...]:
    return wanted.types(resize=version.resize)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"{version.name or 'none'}")
def test_a_command_of_every_version(version: CommandVersion) -> None:
    client, protocol = command_of(version, ALL)
    streams = open_streams(client, protocol, kinds_of(version, ALL))
    client.send(streams["stdin"], b"typed")
    assert protocol.receive(client.output()) == [Input(b"typed")]
    protocol.send(Stream.STDOUT, b"out")
    protocol.send(Stream.STDERR, b"err")
    assert got(client, protocol) == {streams["stdout"]: b"out", streams["stderr"]: b"err"}
    protocol.finish(CommandStatus(7))
    told = got(client, protocol)[streams["error"]]
    if version.json_status:
        assert CommandStatus.decode(told).exit_code == 7
    else:
        assert b"exit code 7" in told


@pytest.mark.parametrize("version", [*SPDY_COMMANDS, WEBSOCKET_COMMANDS[0]], ids=lambda version: version.name)
def test_the_end_of_the_input_is_told(version: CommandVersion) -> None:
    client, protocol = command_of(version, ALL)
    streams = open_streams(client, protocol, kinds_of(version, ALL))
    client.send(streams["stdin"], b"last")
    client.end(streams["stdin"])
    assert protocol.receive(client.output()) == [Input(b"last"), InputEnded()]


@pytest.mark.parametrize("version", [v for v in VERSIONS if v.resize], ids=lambda version: f"{version.name or 'none'}")
def test_the_window_of_a_terminal_is_told(version: CommandVersion) -> None:
    client, protocol = command_of(version, TERMINAL)
    streams = open_streams(client, protocol, kinds_of(version, TERMINAL))
    client.send(streams["resize"], TerminalSize(80, 24).encode() + TerminalSize(0, 0).encode())
    assert protocol.receive(client.output()) == [Resized(TerminalSize(80, 24))]


def test_at_the_end_every_stream_of_spdy_ends_in_order() -> None:
    client, protocol = command_of(SPDY_COMMANDS[0], ALL)
    streams = open_streams(client, protocol, kinds_of(SPDY_COMMANDS[0], ALL))
    protocol.send(Stream.STDOUT, b"last words")
    protocol.finish(CommandStatus(0))
    events = client.receive(protocol.take_output())
    assert events[0] == Data(streams["stdout"], b"last words")
    assert [event.stream for event in events if isinstance(event, Ended)] == [
        streams[kind] for kind in ("stdout", "stderr", "error", "stdin")
    ]
    assert events[-1] == Closed()


def test_input_before_all_streams_are_there_is_kept() -> None:
    client, protocol = command_of(SPDY_COMMANDS[0], Wanted(stdin=True, stdout=True))
    client.open({remote_command.STREAM_TYPE: "error"})
    stdin = client.open({remote_command.STREAM_TYPE: "stdin"})
    assert protocol.receive(client.output()) == []
    client.receive(protocol.take_output())
    client.send(stdin, b"early")
    assert protocol.receive(client.output()) == [Input(b"early")]
    client.open({remote_command.STREAM_TYPE: "stdout"})
    assert protocol.receive(client.output()) == [Started()]


@pytest.mark.parametrize("kind", ["stdout", "resize", "nonsense", ""])
def test_a_stream_twice_or_not_asked_for_is_reset(kind: str) -> None:
    client, protocol = command_of(SPDY_COMMANDS[0], ALL)
    open_streams(client, protocol, kinds_of(SPDY_COMMANDS[0], ALL))
    stray = client.open({remote_command.STREAM_TYPE: kind} if kind else {})
    assert protocol.receive(client.output()) == []
    assert Reset(stray) in client.receive(protocol.take_output())


def test_output_that_was_not_asked_for_is_thrown_away() -> None:
    client, protocol = command_of(SPDY_COMMANDS[0], Wanted(stdout=True))
    open_streams(client, protocol, ("error", "stdout"))
    assert protocol.room(Stream.STDERR) > 0
    protocol.send(Stream.STDERR, b"x")
    assert protocol.take_output() == b""


@pytest.mark.parametrize("version", [SPDY_COMMANDS[0], WEBSOCKET_COMMANDS[0]], ids=["SPDY", "WebSocket"])
def test_a_client_that_closes_has_left(version: CommandVersion) -> None:
    client, protocol = command_of(version, ALL)
    open_streams(client, protocol, kinds_of(version, ALL))
    client.close()
    assert protocol.receive(client.output()) == [Left()]
    assert protocol.over
    assert protocol.receive(b"more") == []


def test_input_is_credited_when_it_was_taken_and_not_before() -> None:
    client, protocol = command_of(SPDY_COMMANDS[0], Wanted(stdin=True))
    streams = open_streams(client, protocol, ("error", "stdin"))
    client.send(streams["stdin"], bytes(60_000))
    protocol.receive(client.output())
    assert protocol.take_output() == b""
    protocol.consumed(60_000)
    client.receive(protocol.take_output())
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
    decoded = CommandStatus.decode(told.encode(as_json=True))
    assert decoded.exit_code == told.exit_code and (told.exit_code is not None or decoded == told)


@given(st.binary(max_size=100) | st.from_type(dict).map(lambda value: json.dumps(value, default=str).encode()))
def test_a_status_of_any_content_is_understood_or_refused(data: bytes) -> None:
    try:
        CommandStatus.decode(data)
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
