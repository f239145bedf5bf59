"""SPDY/3.1 without I/O: frames of the draft, round trips however they are cut, windows, and bad peers."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.protocols import cuts, joined, pieces_of
from vmsandbox.streaming.protocol.multiplexer import UNBOUNDED, Closed, Data, Ended, Event, Failed, Opened, Reset
from vmsandbox.streaming.protocol.spdy import SpdyConnection, frames
from vmsandbox.streaming.protocol.spdy.dictionary import DICTIONARY
from vmsandbox.streaming.protocol.spdy.frame_reader import SpdyFrameReader
from vmsandbox.streaming.protocol.spdy.frames import FrameKind, SpdySetting, Status
from vmsandbox.streaming.protocol.spdy.headers import BLOCK_LIMIT, HeaderCompressor, HeaderDecompressor
from vmsandbox.streaming.protocol.spdy.windows import INITIAL, SESSION

HEADERS = {"streamtype": "stdin", "port": "80"}


names = st.text("abcdefghij-", min_size=1, max_size=12)


header_maps = st.dictionaries(names, st.text(max_size=40), max_size=8)


def feed(peer: SpdyConnection, data: bytes, cuts: list[int]) -> list[Event]:
    return [event for piece in pieces_of(data, cuts) for event in peer.receive(piece)]


def pair() -> tuple[SpdyConnection, SpdyConnection]:
    return SpdyConnection(server=False), SpdyConnection(server=True)


def open_stream(client: SpdyConnection, server: SpdyConnection) -> int:
    number = client.open(HEADERS)
    assert server.receive(client.output()) == [Opened(number, HEADERS)]
    assert client.receive(server.output()) == []
    return number


ANNOUNCEMENT = frames.settings({SpdySetting.INITIAL_WINDOW_SIZE: INITIAL}) + frames.window_update(0, SESSION - INITIAL)


def frames_of(data: bytes) -> list[frames.DataFrame | frames.ControlFrame]:
    return list(SpdyFrameReader().feed(data))


def kinds_of(data: bytes) -> list[int]:
    return [frame.kind for frame in frames_of(data) if isinstance(frame, frames.ControlFrame)]


def test_the_dictionary_is_that_of_the_draft() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (frames.ping(1), "80030006 00000004 00000001"),
        (frames.rst_stream(3, Status.CANCEL), "80030003 00000008 00000003 00000005"),
        (frames.goaway(7, frames.GoAwayStatus.OK), "80030007 00000008 00000007 00000000"),
        (frames.window_update(1, 32768), "80030009 00000008 00000001 00008000"),
        (frames.data(5, b"hi"), "00000005 00000002 6869"),
        (frames.data(5, b"", fin=True), "00000005 01000000"),
        (frames.syn_stream(1, b"\xaa\xbb", frames.FIN), "80030001 0100000c 00000001 00000000 0000 aabb"),
        (frames.syn_reply(1, b"\xaa\xbb"), "80030002 00000006 00000001 aabb"),
    ],
)
def test_frames_are_those_of_the_draft(frame: bytes, expected: str) -> None:
    assert frame == bytes.fromhex(expected)


def test_a_header_block_begins_with_the_checksum_of_the_dictionary() -> None:
    block = HeaderCompressor().compress(HEADERS)
    assert block[2:6] == (0xE3C6A7C2).to_bytes(4, "big")
    assert block.endswith(b"\0\0\xff\xff"), "a sync flush"


@given(st.lists(header_maps, max_size=5))
def test_headers_come_out_as_they_went_in(blocks: list[dict[str, str]]) -> None:
    compressor, decompressor = HeaderCompressor(), HeaderDecompressor()
    assert [decompressor.decompress(compressor.compress(block)) for block in blocks] == blocks


@given(st.lists(st.binary(max_size=300), max_size=6), cuts)
def test_a_stream_comes_out_as_it_went_in_however_it_is_cut(written: list[bytes], where: list[int]) -> None:
    client, server = pair()
    number = client.open(HEADERS)
    opening = client.output()
    assert server.receive(opening) == [Opened(number, HEADERS)]
    client.receive(server.output())
    for data in written:
        client.send(number, data)
    client.end(number)
    sent = b"".join(written)
    expected: list[Event] = [Data(number, sent)] if sent else []
    assert joined(feed(server, client.output(), where)) == [*expected, Ended(number)]


@given(st.binary(min_size=1, max_size=200), cuts)
def test_garbage_ends_the_session_or_means_nothing_and_never_raises(data: bytes, where: list[int]) -> None:
    server = SpdyConnection(server=True)
    feed(server, data, where)
    server.output()


@given(st.integers(0, 12), st.integers(0, 255), st.binary(max_size=60))
def test_a_control_frame_of_any_content_never_raises(kind: int, flags: int, payload: bytes) -> None:
    client, server = pair()
    open_stream(client, server)
    header = bytes.fromhex("8003") + kind.to_bytes(2, "big") + bytes([flags]) + len(payload).to_bytes(3, "big")
    server.receive(header + payload)
    server.output()


def test_a_stream_is_replied_to_at_once_and_open_both_ways() -> None:
    client, server = pair()
    number = client.open(HEADERS)
    assert client.room(number) == 0, "not before the reply"
    server.receive(client.output())
    reply = server.output()
    assert kinds_of(reply.removeprefix(ANNOUNCEMENT)) == [FrameKind.SYN_REPLY]
    client.receive(reply)
    assert client.room(number) == INITIAL
    server.send(number, b"hello")
    assert client.receive(server.output()) == [Data(number, b"hello")]


def test_each_direction_ends_by_itself_and_the_stream_with_the_second() -> None:
    client, server = pair()
    number = open_stream(client, server)
    client.end(number)
    assert server.receive(client.output()) == [Ended(number)]
    server.send(number, b"answer")
    server.end(number)
    assert client.receive(server.output()) == [Data(number, b"answer"), Ended(number)]
    server.send(number, b"too late")
    server.end(number)
    server.reset(number)
    assert server.output() == b""


def test_a_reset_ends_both_directions() -> None:
    client, server = pair()
    number = open_stream(client, server)
    client.reset(number)
    assert server.receive(client.output()) == [Reset(number)]
    server.send(number, b"x")
    assert server.output() == b""


def test_a_unidirectional_stream_is_not_replied_to() -> None:
    server = SpdyConnection(server=True)
    block = HeaderCompressor().compress(HEADERS)
    assert server.receive(frames.syn_stream(1, block, frames.UNIDIRECTIONAL)) == [Opened(1, HEADERS)]
    assert server.output() == ANNOUNCEMENT
    server.send(1, b"x")
    assert server.output() == b""
    assert server.receive(frames.data(1, b"in", fin=True)) == [Data(1, b"in"), Ended(1)]


def test_the_peers_ping_comes_back_and_what_answers_none_of_ours_does_not() -> None:
    server = SpdyConnection(server=True)
    server.receive(frames.ping(1))
    assert server.output() == frames.ping(1)
    server.receive(frames.ping(2))
    assert server.output() == b""


def test_a_heartbeat_means_nothing_and_is_not_answered() -> None:
    client, server = pair()
    server.heartbeat()
    beat = server.output()
    assert beat
    assert client.receive(beat) == []
    assert client.output() == b""


def test_goaway_ends_the_session() -> None:
    client, server = pair()
    number = open_stream(client, server)
    server.close()
    assert client.receive(server.output()) == [Closed()]
    client.send(number, b"x")
    assert client.output() == b""
    assert client.receive(frames.data(number, b"x")) == []


def test_what_is_consumed_is_credited_when_half_of_the_window_is() -> None:
    client, server = pair()
    number = open_stream(client, server)
    server.consumed(number, INITIAL // 2 - 1)
    assert server.output() == b""
    server.consumed(number, 1)
    half = INITIAL // 2
    assert server.output() == frames.window_update(number, half) + frames.window_update(0, half)


def test_a_peer_that_shows_no_windows_is_not_held_to_them() -> None:
    server = SpdyConnection(server=True)
    server.receive(frames.syn_stream(1, HeaderCompressor().compress(HEADERS)))
    assert server.room(1) == UNBOUNDED
    sent = frames.data(1, bytes(4 * INITIAL))
    assert joined(server.receive(sent)) == [Data(1, bytes(4 * INITIAL))]


def test_windows_are_announced_with_the_first_stream_and_not_before() -> None:
    client, server = pair()
    assert server.output() == client.output() == b""
    client.open(HEADERS)
    client.open(HEADERS)
    opening = client.output()
    assert kinds_of(opening) == [
        FrameKind.SETTINGS,
        FrameKind.WINDOW_UPDATE,
        FrameKind.SYN_STREAM,
        FrameKind.SYN_STREAM,
    ]
    server.receive(opening)
    reply = server.output()
    assert kinds_of(reply) == [FrameKind.SETTINGS, FrameKind.WINDOW_UPDATE, FrameKind.SYN_REPLY, FrameKind.SYN_REPLY]
    assert reply.startswith(ANNOUNCEMENT)
    assert opening.startswith(ANNOUNCEMENT)


def test_streams_whose_data_is_not_consumed_hold_no_other_stream_up() -> None:
    client, server = pair()
    for sender, receiver in ((client, server), (server, client)):
        stuck = [open_stream(client, server) for _ in range(100)]
        for number in stuck:
            sender.send(number, bytes(sender.room(number)))
            assert sender.room(number) == 0
        receiver.receive(sender.output())
        assert sender.room(open_stream(client, server)) == INITIAL


def test_windows_hold_the_sender_once_the_peer_has_shown_them_counting_from_the_beginning() -> None:
    server = SpdyConnection(server=True)
    block = HeaderCompressor().compress(HEADERS)
    server.receive(frames.syn_stream(1, block))
    server.send(1, bytes(50_000))
    server.receive(frames.window_update(1, 1))
    assert server.room(1) == INITIAL - 50_000 + 1
    server.receive(frames.window_update(0, 0))
    assert server.room(1) == INITIAL - 50_000, "the session's is smaller now"
    server.send(1, bytes(server.room(1)))
    assert server.room(1) == 0
    server.receive(frames.window_update(0, 10) + frames.window_update(1, 100))
    assert server.room(1) == 10


def test_the_initial_window_of_settings_changes_that_of_open_streams() -> None:
    server = SpdyConnection(server=True)
    server.receive(frames.syn_stream(1, HeaderCompressor().compress(HEADERS)))
    server.send(1, bytes(100))
    payload = (1).to_bytes(4, "big") + int(SpdySetting.INITIAL_WINDOW_SIZE).to_bytes(4, "big") + (50).to_bytes(4, "big")
    server.receive(frames.control(FrameKind.SETTINGS, payload))
    assert server.room(1) == 0
    server.receive(frames.window_update(1, 60))
    assert server.room(1) == 10


def test_that_the_peer_overruns_our_window_is_not_an_error_even_if_it_knows_windows() -> None:
    client, server = pair()
    number = open_stream(client, server)
    server.receive(frames.window_update(number, 1))
    assert joined(server.receive(frames.data(number, bytes(INITIAL + 1)))) == [Data(number, bytes(INITIAL + 1))]


def test_both_ends_of_ours_respect_windows_and_finish() -> None:
    client, server = pair()
    number = open_stream(client, server)
    left, received = 1_000_000, 0
    while left:
        size = min(left, client.room(number), 40_000)
        client.send(number, bytes(size))
        left -= size
        for event in server.receive(client.output()):
            if isinstance(event, Data):
                received += len(event.data)
                server.consumed(number, len(event.data))
            else:
                pytest.fail(f"{event}")
        client.receive(server.output())
    assert received == 1_000_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01", "version 2"),
        (b"\x80\x03\x00\x06\x00\x01\x00\x00", "a control frame of 65536 bytes"),
        (frames.control(FrameKind.PING, b"\0"), "a frame of type 6"),
        (frames.data(0, b"x"), "data on stream 0"),
        (frames.syn_stream(1, b"no zlib"), "cannot be decompressed"),
        (frames.syn_stream(2, HeaderCompressor().compress({})), "a stream 2"),
    ],
)
def test_what_breaks_the_session_ends_it_with_goaway(data: bytes, reason: str) -> None:
    server = SpdyConnection(server=True)
    events = server.receive(data)
    assert isinstance(events[-1], Failed)
    assert reason in events[-1].reason
    assert server.output().endswith(frames.goaway(0, frames.GoAwayStatus.PROTOCOL_ERROR))
    assert server.receive(frames.ping(1)) == []
    assert server.output() == b""


def test_a_number_that_was_used_ends_the_session() -> None:
    server, compressor = SpdyConnection(server=True), HeaderCompressor()
    server.receive(frames.syn_stream(3, compressor.compress(HEADERS)))
    assert isinstance(server.receive(frames.syn_stream(3, compressor.compress(HEADERS)))[-1], Failed)


def test_a_bomb_of_headers_ends_the_session() -> None:
    server = SpdyConnection(server=True)
    block = HeaderCompressor().compress({"a": "b" * (BLOCK_LIMIT + 1)})
    assert len(block) < 1000
    (failed,) = server.receive(frames.syn_stream(1, block))
    assert isinstance(failed, Failed)


def test_malformed_headers_cost_only_their_stream() -> None:
    server, compressor = SpdyConnection(server=True), HeaderCompressor()
    server.receive(frames.syn_stream(1, compressor.compress({"": "nameless"})))
    assert server.output() == frames.rst_stream(1, Status.PROTOCOL_ERROR)
    assert server.receive(frames.syn_stream(3, compressor.compress(HEADERS))) == [Opened(3, HEADERS)]


def test_more_streams_than_allowed_are_refused_and_free_again_when_others_end() -> None:
    client, server = SpdyConnection(server=False), SpdyConnection(server=True, max_streams=2)
    first, _, third = (client.open(HEADERS) for _ in range(3))
    assert len(server.receive(client.output())) == 2
    assert client.receive(server.output()) == [Reset(third)]
    client.reset(first)
    fourth = client.open(HEADERS)
    assert server.receive(client.output()) == [Reset(first), Opened(fourth, HEADERS)]


def test_data_after_the_end_resets_the_stream() -> None:
    client, server = pair()
    number = open_stream(client, server)
    client.end(number)
    server.receive(client.output())
    assert server.receive(frames.data(number, b"more")) == [Reset(number)]
    assert server.output() == frames.rst_stream(number, Status.STREAM_ALREADY_CLOSED)


def test_data_of_a_stream_that_is_gone_means_nothing_and_of_one_that_never_was_is_told() -> None:
    client, server = pair()
    number = open_stream(client, server)
    server.reset(number)
    server.output()
    assert server.receive(frames.data(number, b"late")) == []
    assert server.output() == b""
    server.receive(frames.data(99, b"x"))
    assert server.output() == frames.rst_stream(99, Status.INVALID_STREAM)


def test_headers_on_an_open_stream_keep_the_compression_in_step() -> None:
    server, compressor = SpdyConnection(server=True), HeaderCompressor()
    server.receive(frames.syn_stream(1, compressor.compress(HEADERS)))
    more = frames.control(FrameKind.HEADERS, (1).to_bytes(4, "big") + compressor.compress({"more": "x"}), frames.FIN)
    assert server.receive(more) == [Ended(1)]
    assert server.receive(frames.syn_stream(3, compressor.compress(HEADERS))) == [Opened(3, HEADERS)]


def test_an_unknown_type_of_frame_means_nothing() -> None:
    server = SpdyConnection(server=True)
    assert server.receive(b"\x80\x03\x00\x63\x00\x00\x00\x02hi") == []
    assert server.output() == b""


def test_a_large_frame_of_data_is_handed_on_as_it_comes() -> None:
    client, server = pair()
    number = open_stream(client, server)
    begin = number.to_bytes(4, "big") + b"\x01" + (1_000_000).to_bytes(3, "big")
    assert server.receive(begin + b"abc") == [Data(number, b"abc")]
    assert server.receive(bytes(999_996)) == [Data(number, bytes(999_996))]
    assert server.receive(b"z") == [Data(number, b"z"), Ended(number)]
