"""WebSocket channels and the SPDY tunnel, fed in any pieces."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from tests.support.protocols import cuts, joined, pieces_of
from vmsandbox.streaming.protocol.channels import ChannelProtocol, WebSocketChannels
from vmsandbox.streaming.protocol.multiplexer import Closed, Data, Ended, Event, Failed, Multiplexer, Opened
from vmsandbox.streaming.protocol.tunnel import Tunnel

CHANNELS = {0: {"streamtype": "stdin"}, 1: {"streamtype": "stdout"}, 3: {"streamtype": "error"}}
OPENED: list[Event] = [Opened(number, headers) for number, headers in CHANNELS.items()]
V5 = ChannelProtocol(half_close=True)
BINARY = ChannelProtocol()
BASE64 = ChannelProtocol(base64=True)


def server_of(protocol: ChannelProtocol) -> WebSocketChannels:
    server = WebSocketChannels(protocol, CHANNELS, server=True)
    assert server.receive(b"") == OPENED
    return server


def feed(peer: Multiplexer, data: bytes, where: list[int]) -> list[Event]:
    return joined([event for piece in pieces_of(data, where) for event in peer.receive(piece)])


class RawClient:
    """The bytes that wsproto itself sends and receives."""

    def __init__(self) -> None:
        self.connection = Connection(ConnectionType.CLIENT)

    def messages(self, data: bytes) -> list[object]:
        self.connection.receive_data(data)
        return list(self.connection.events())


@given(st.sampled_from([V5, BINARY, BASE64]), st.lists(st.binary(min_size=1, max_size=500), max_size=5), cuts)
def test_channels_come_out_as_they_went_in(protocol: ChannelProtocol, written: list[bytes], where: list[int]) -> None:
    client, server = WebSocketChannels(protocol, CHANNELS, server=False), server_of(protocol)
    for data in written:
        client.send(0, data)
    assert feed(server, client.output(), where) == ([Data(0, b"".join(written))] if written else [])
    for data in written:
        server.send(1, data)
    assert feed(client, server.output(), where) == ([Data(1, b"".join(written))] if written else [])


@given(st.sampled_from([V5, BINARY, BASE64]), st.binary(max_size=200), cuts)
def test_garbage_never_raises(protocol: ChannelProtocol, data: bytes, where: list[int]) -> None:
    server = server_of(protocol)
    feed(server, data, where)
    server.output()


@given(st.sampled_from([V5, BINARY, BASE64]), st.lists(st.binary(max_size=50) | st.text(max_size=50), max_size=8))
def test_messages_of_any_content_never_raise(protocol: ChannelProtocol, messages: list[bytes | str]) -> None:
    server, client = server_of(protocol), RawClient()
    for message in messages:
        event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        server.receive(client.connection.send(event))
    server.output()


@given(st.binary(max_size=300), cuts)
def test_garbage_in_a_tunnel_never_raises(data: bytes, where: list[int]) -> None:
    server, client = Tunnel(server=True), RawClient()
    feed(server, client.connection.send(BytesMessage(data)), where)
    server.output()


def test_a_message_begins_with_its_channel() -> None:
    server, client = server_of(BINARY), RawClient()
    server.send(1, b"out")
    assert client.messages(server.output()) == [BytesMessage(b"\x01out")]


def test_a_base64_message_begins_with_a_digit() -> None:
    server, client = server_of(BASE64), RawClient()
    server.send(1, b"out")
    assert client.messages(server.output()) == [TextMessage("1" + base64.b64encode(b"out").decode())]


def test_base64_channels_from_10_on_are_one_character_as_kubernetes_has_them() -> None:
    channels = {number: {"port": str(number)} for number in range(80)}
    server, client = WebSocketChannels(BASE64, channels, server=True), RawClient()
    server.send(10, b"out")
    server.send(79, b"out")
    assert [message.data[0] for message in client.messages(server.output())] == [":", "\x7f"]
    ours = WebSocketChannels(BASE64, channels, server=False)
    ours.send(79, b"in")
    assert server.receive(ours.output())[-1:] == [Data(79, b"in")]


def test_large_data_is_cut_into_messages() -> None:
    server, client = server_of(BINARY), RawClient()
    server.send(1, bytes(100_000))
    sizes = [len(message.data) - 1 for message in client.messages(server.output()) if isinstance(message, BytesMessage)]
    assert sum(sizes) == 100_000
    assert max(sizes) <= 32 * 1024


def test_version_5_says_that_a_channel_has_ended() -> None:
    client, server = WebSocketChannels(V5, CHANNELS, server=False), server_of(V5)
    client.send(0, b"last")
    client.end(0)
    client.send(0, b"never sent")
    assert server.receive(client.output()) == [Data(0, b"last"), Ended(0)]


def test_version_4_has_no_end_of_a_channel_and_255_is_a_channel_that_is_not() -> None:
    server, client = server_of(BINARY), RawClient()
    assert server.receive(client.connection.send(BytesMessage(b"\xff\x00"))) == []


def test_a_message_for_a_channel_that_is_not_there_means_nothing() -> None:
    server, client = server_of(V5), RawClient()
    assert server.receive(client.connection.send(BytesMessage(b"\x09x"))) == []
    assert server.receive(client.connection.send(BytesMessage(b"\xff\x09"))) == []
    assert server.receive(client.connection.send(BytesMessage(b""))) == []


def test_a_fragmented_message_has_one_channel() -> None:
    server, client = server_of(BINARY), RawClient()
    first = client.connection.send(BytesMessage(b"\x00ab", message_finished=False))
    rest = client.connection.send(BytesMessage(b"\x01cd"))
    assert joined(server.receive(first + rest)) == [Data(0, b"ab\x01cd")]


def test_pings_are_answered_also_within_a_fragmented_message() -> None:
    server, client = server_of(BINARY), RawClient()
    server.receive(client.connection.send(BytesMessage(b"\x00a", message_finished=False)))
    server.receive(client.connection.send(Ping(b"token")))
    assert client.messages(server.output()) == [Pong(b"token")]


def test_a_close_is_answered_and_is_the_end() -> None:
    server, client = server_of(BINARY), RawClient()
    assert server.receive(client.connection.send(CloseConnection(1000))) == [Closed()]
    assert client.messages(server.output()) == [CloseConnection(1000, "")]
    server.send(1, b"x")
    server.close()
    assert server.output() == b""
    assert server.receive(b"anything") == []


def test_a_close_with_an_error_tells_it() -> None:
    server, client = server_of(BINARY), RawClient()
    assert server.receive(client.connection.send(CloseConnection(1011, "oops"))) == [
        Failed("closed with code 1011: oops")
    ]


@pytest.mark.parametrize(
    ("protocol", "data", "code"),
    [
        (BINARY, b"\x82\x05\x00abcd", 1002),
        (BINARY, b"\x83\x80\x00\x00\x00\x00", 1002),
        (BASE64, RawClient().connection.send(TextMessage("0!!!")), 1007),
        (BASE64, RawClient().connection.send(TextMessage("0" + "A" * 300_000)), 1009),
    ],
    ids=["unmasked", "an opcode that does not exist", "not base64", "a message that is too large"],
)
def test_what_breaks_the_protocol_is_told_and_the_end(protocol: ChannelProtocol, data: bytes, code: int) -> None:
    server, client = server_of(protocol), RawClient()
    assert isinstance(server.receive(data)[-1], Failed)
    (close,) = client.messages(server.output())
    assert isinstance(close, CloseConnection)
    assert close.code == code


def test_the_end_of_the_server_is_a_close() -> None:
    server, client = server_of(V5), RawClient()
    server.end(1)
    server.close()
    assert client.messages(server.output()) == [CloseConnection(1000, "")]


@given(st.lists(st.binary(min_size=1, max_size=500), min_size=1, max_size=5), cuts)
def test_a_tunnel_carries_spdy_however_it_is_cut(written: list[bytes], where: list[int]) -> None:
    client, server = Tunnel(server=False), Tunnel(server=True)
    number = client.open({"streamtype": "data"})
    assert feed(server, client.output(), where) == [Opened(number, {"streamtype": "data"})]
    assert feed(client, server.output(), where) == []
    for data in written:
        client.send(number, data)
    client.end(number)
    assert feed(server, client.output(), where) == [Data(number, b"".join(written)), Ended(number)]
    server.send(number, b"answer")
    server.close()
    assert feed(client, server.output(), where) == [Data(number, b"answer"), Closed(), Closed()]
