"""Port-forward over every transport, without I/O, driven by a client of ours."""

import pytest

from tests.support.protocols import got
from vmsandbox.streaming.protocol import stream_pairs
from vmsandbox.streaming.protocol.channels import WebSocketChannels
from vmsandbox.streaming.protocol.multiplexer import Closed, Data, Ended, Event, Multiplexer, Reset
from vmsandbox.streaming.protocol.port_forward import GaveUp, PortForward, PortInput, PortInputEnded, Requested, Waiting
from vmsandbox.streaming.protocol.spdy import SpdyConnection, frames
from vmsandbox.streaming.protocol.stream_pairs import EARLY_LIMIT, MAX_WAITING
from vmsandbox.streaming.protocol.tunnel import Tunnel
from vmsandbox.streaming.protocol.versions import WEBSOCKET_PORTS


def ports_of(transport: str) -> tuple[Multiplexer, PortForward]:
    if transport == "tunnel":
        return Tunnel(server=False), PortForward(Tunnel(server=True))
    return SpdyConnection(server=False), PortForward(SpdyConnection(server=True))


def channels_of(*ports: int) -> tuple[Multiplexer, PortForward]:
    channels = stream_pairs.channel_headers(ports)
    spoken = WEBSOCKET_PORTS[1].channels
    assert spoken is not None
    client = WebSocketChannels(spoken, channels, server=False)
    return client, PortForward(WebSocketChannels(spoken, channels, server=True), tells_ports=True)


def open_pair(client: Multiplexer, protocol: PortForward, request: str = "0", port: int = 80) -> tuple[int, int]:
    headers = {stream_pairs.PORT: str(port), stream_pairs.REQUEST_ID: request}
    error = client.open({stream_pairs.STREAM_TYPE: "error", **headers})
    data = client.open({stream_pairs.STREAM_TYPE: "data", **headers})
    assert protocol.receive(client.output())[-1] == Requested(data, port)
    client.receive(protocol.take_output())
    return data, error


@pytest.mark.parametrize("transport", ["SPDY", "tunnel"])
def test_connections_to_ports_are_kept_apart(transport: str) -> None:
    client, protocol = ports_of(transport)
    first, _ = open_pair(client, protocol, "0", 80)
    second, _ = open_pair(client, protocol, "1", 81)
    client.send(second, b"b")
    client.send(first, b"a")
    assert protocol.receive(client.output()) == [PortInput(second, b"b"), PortInput(first, b"a")]
    protocol.send(first, b"A")
    assert got(client, protocol) == {first: b"A"}


def test_each_direction_of_a_connection_ends_by_itself() -> None:
    client, protocol = ports_of("SPDY")
    data, error = open_pair(client, protocol)
    client.end(error)
    client.end(data)
    assert protocol.receive(client.output()) == [PortInputEnded(data)]
    protocol.send(data, b"answer")
    protocol.finish(data)
    events: list[Event] = client.receive(protocol.take_output())
    assert events == [Data(data, b"answer"), Ended(data), Ended(error)]


def test_a_port_that_cannot_be_reached_is_told_on_the_error_stream_before_the_reset() -> None:
    client, protocol = ports_of("SPDY")
    data, error = open_pair(client, protocol)
    protocol.fail(data, "nobody listens")
    events = client.receive(protocol.take_output())
    assert events == [Data(error, b"nobody listens"), Ended(error), Reset(data)]


def test_a_connection_that_is_refused_is_reset_without_a_word_on_its_error_stream() -> None:
    client, protocol = ports_of("SPDY")
    data, error = open_pair(client, protocol)
    protocol.refuse(data, "it stalls")
    assert client.receive(protocol.take_output()) == [Ended(error), Reset(data)]


def test_a_reset_gives_a_connection_up_and_no_other() -> None:
    client, protocol = ports_of("SPDY")
    first, _ = open_pair(client, protocol, "0")
    second, _ = open_pair(client, protocol, "1")
    client.reset(first)
    client.send(second, b"x")
    assert protocol.receive(client.output()) == [GaveUp(first), PortInput(second, b"x")]


def test_a_pair_without_request_ids_is_found_by_its_streams_numbers() -> None:
    client, protocol = ports_of("SPDY")
    client.open({stream_pairs.STREAM_TYPE: "error", stream_pairs.PORT: "80"})
    data = client.open({stream_pairs.STREAM_TYPE: "data", stream_pairs.PORT: "80"})
    assert protocol.receive(client.output()) == [Waiting(0), Requested(data, 80)]


def test_what_a_data_stream_brings_before_its_pair_is_complete_is_kept() -> None:
    client, protocol = ports_of("SPDY")
    headers = {stream_pairs.PORT: "80", stream_pairs.REQUEST_ID: "0"}
    data = client.open({stream_pairs.STREAM_TYPE: "data", **headers})
    protocol.receive(client.output())
    client.receive(protocol.take_output())
    client.send(data, b"early")
    client.end(data)
    assert protocol.receive(client.output()) == []
    client.open({stream_pairs.STREAM_TYPE: "error", **headers})
    assert protocol.receive(client.output()) == [Requested(data, 80), PortInput(data, b"early"), PortInputEnded(data)]


def test_an_incomplete_pair_that_brings_too_much_is_reset() -> None:
    client, protocol = ports_of("SPDY")
    data = client.open({stream_pairs.STREAM_TYPE: "data", stream_pairs.PORT: "80", stream_pairs.REQUEST_ID: "0"})
    protocol.receive(client.output())
    client.receive(protocol.take_output())
    client.send(data, bytes(EARLY_LIMIT))
    assert protocol.receive(client.output()) == []
    assert client.receive(protocol.take_output()) == []
    client.send(data, b"x")
    assert protocol.receive(client.output()) == []
    told = protocol.take_output()
    assert frames.window_update(0, EARLY_LIMIT + 1) in told
    assert client.receive(told) == [Reset(data)]


def test_a_pair_whose_other_stream_does_not_come_expires() -> None:
    client, protocol = ports_of("SPDY")
    error = client.open({stream_pairs.STREAM_TYPE: "error", stream_pairs.PORT: "80", stream_pairs.REQUEST_ID: "0"})
    (waiting,) = protocol.receive(client.output())
    assert isinstance(waiting, Waiting)
    client.receive(protocol.take_output())
    protocol.expire(waiting.pair)
    protocol.expire(waiting.pair)
    assert got(client, protocol)[error].startswith(b"timed out")


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
    client, protocol = ports_of("SPDY")
    stray = client.open(headers)
    assert protocol.receive(client.output()) == []
    assert client.receive(protocol.take_output()) == [Reset(stray)]


def test_the_two_streams_of_a_pair_name_one_port() -> None:
    client, protocol = ports_of("SPDY")
    client.open({stream_pairs.STREAM_TYPE: "error", stream_pairs.PORT: "80", stream_pairs.REQUEST_ID: "0"})
    other = client.open({stream_pairs.STREAM_TYPE: "data", stream_pairs.PORT: "81", stream_pairs.REQUEST_ID: "0"})
    assert protocol.receive(client.output()) == [Waiting(0)]
    assert Reset(other) in client.receive(protocol.take_output())


def test_pairs_that_wait_are_bounded() -> None:
    client, protocol = ports_of("SPDY")
    for number in range(MAX_WAITING + 5):
        client.open({stream_pairs.STREAM_TYPE: "error", stream_pairs.PORT: "80", stream_pairs.REQUEST_ID: str(number)})
    assert len(protocol.receive(client.output())) == MAX_WAITING
    assert len([event for event in client.receive(protocol.take_output()) if isinstance(event, Reset)]) == 5


def test_over_channels_both_streams_begin_with_their_port_and_the_last_end_is_the_connections() -> None:
    client, protocol = channels_of(80, 443)
    events = protocol.receive(b"")
    assert [event for event in events if isinstance(event, Requested)] == [Requested(0, 80), Requested(2, 443)]
    assert got(client, protocol) == {0: b"\x50\0", 1: b"\x50\0", 2: b"\xbb\x01", 3: b"\xbb\x01"}
    protocol.finish(0)
    assert not protocol.finished
    protocol.fail(2, "refused")
    assert protocol.finished
    assert client.receive(protocol.take_output()) == [Data(3, b"refused"), Closed()]


def test_over_channels_a_connection_that_is_refused_is_told_so_on_its_error_channel() -> None:
    client, protocol = channels_of(80, 443)
    protocol.receive(b"")
    client.receive(protocol.take_output())
    protocol.refuse(0, "it stalls")
    assert client.receive(protocol.take_output()) == [Data(1, b"it stalls")]
