"""Frames, whatever the pieces in which their bytes arrive."""

import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.protocol.framing import MAX_FRAME, FrameReader, ProtocolError, pack, pack_json, parse_json

payloads = st.lists(st.binary(max_size=300), max_size=10)
json_objects = st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(payloads, st.lists(st.integers(min_value=0), max_size=30))
def test_frames_come_out_as_they_went_in_however_they_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    reader = FrameReader()
    received: list[bytes] = []
    for piece in pieces_of(b"".join(map(pack, sent)), cuts):
        received += reader.feed(piece)
    assert received == sent
    assert reader.pending() == 0


@given(st.binary(max_size=300), st.integers(min_value=1))
def test_a_cut_frame_stays_pending(payload: bytes, missing: int) -> None:
    frame = pack(payload)
    kept = frame[: len(frame) - 1 - missing % len(frame)]
    reader = FrameReader()
    assert list(reader.feed(kept)) == []
    assert reader.pending() == len(kept)


@given(st.integers(min_value=0, max_value=100), st.integers(min_value=1, max_value=2**32 - 101))
def test_a_length_over_the_limit_is_refused_before_its_bytes_come(limit: int, excess: int) -> None:
    reader = FrameReader(limit)
    with pytest.raises(ProtocolError, match=f"a frame of {limit + excess} bytes exceeds the limit of {limit}"):
        list(reader.feed((limit + excess).to_bytes(4, "big")))


def test_the_limit_can_differ_from_frame_to_frame() -> None:
    reader = FrameReader()
    reader.append(pack(b"token") + pack(b"x" * 100))
    assert reader.next_frame(limit=5) == b"token"
    with pytest.raises(ProtocolError):
        reader.next_frame(limit=99)


def test_a_payload_over_the_limit_is_not_packed() -> None:
    assert pack(bytes(MAX_FRAME))[:4] == b"\x00\x40\x00\x00"
    with pytest.raises(ProtocolError, match="exceeds the limit"):
        pack(bytes(MAX_FRAME + 1))


@given(json_objects)
def test_json_objects_survive_the_wire(message: dict[str, object]) -> None:
    (payload,) = FrameReader().feed(pack_json(message))
    assert parse_json(payload) == message


@given(st.binary(max_size=100))
def test_parsing_anything_gives_an_object_or_a_protocol_error(payload: bytes) -> None:
    try:
        parsed = parse_json(payload)
    except ProtocolError:
        return
    assert parsed == json.loads(payload)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"1", b"null", b'"x"', b"{", b"[" * 100_000])
def test_a_frame_that_is_not_a_json_object_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_json(payload)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(number: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_json(b'{"deadline":' + number + b"}")


def test_an_integer_of_absurd_length_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        parse_json(b'{"id":' + b"9" * 10_000 + b"}")


def test_a_lone_surrogate_survives_the_wire() -> None:
    message = {"name": "\ud800"}
    (payload,) = FrameReader().feed(pack_json(message))
    assert parse_json(payload) == message


@pytest.mark.parametrize("string", [b'"' + b'\\"' * 30_000, b'"' * 60_001, b'"' + b"\\" * 60_001])
def test_a_string_without_an_end_is_refused_in_no_time(string: bytes) -> None:
    begin = time.process_time()
    with pytest.raises(ProtocolError):
        parse_json(b"[" * 33 + string)
    assert time.process_time() - begin < 0.25


def test_brackets_in_strings_are_not_nesting() -> None:
    assert parse_json(b'{"a":"' + b"[" * 100 + b'\\"{"}') == {"a": "[" * 100 + '"{'}
