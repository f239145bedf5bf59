"""SPDY/3 frames and their bytes (draft-mbelshe-httpbis-spdy-00, 2.2 and 2.6).

A frame is 8 bytes of header and a payload of at most 16 MiB - 1. The first bit tells control frames (1, version 3 in
15 bits, type in 16 bits) from data frames (0, stream in 31 bits); 8 bits of flags and 24 bits of length follow.
"""

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass

VERSION = 3
FIN = 0x01
"""Flag of SYN_STREAM, SYN_REPLY, HEADERS and data: the sender sends nothing more on this stream."""
UNIDIRECTIONAL = 0x02
"""Flag of SYN_STREAM: the receiver sends nothing on this stream."""

DATA_LIMIT = 16 * 1024
"""Bytes of data that are put into one frame, so that streams take turns."""

HEADER = struct.Struct(">II")
"""The two words with which every frame begins."""
CONTROL = 0x8000_0000
"""In the first word: this is a control frame."""
MASK_24 = 0xFF_FFFF
"""In the second word: the length of the payload; what is above are the flags."""
_MASK_31 = 0x7FFF_FFFF
_WORD = struct.Struct(">I")
_TWO_WORDS = struct.Struct(">II")


class SpdyError(Exception):
    """The peer broke the protocol, and the session ends."""


class FrameKind(enum.IntEnum):
    """Types of control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Status(enum.IntEnum):
    """Reasons for which a stream is reset (2.6.3)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


class GoAwayStatus(enum.IntEnum):
    """Reasons for which a session ends (2.6.6)."""

    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class SpdySetting(enum.IntEnum):
    """The settings that mean something here (2.6.4)."""

    MAX_CONCURRENT_STREAMS = 4
    INITIAL_WINDOW_SIZE = 7


@dataclass(frozen=True, slots=True)
class DataFrame:
    """Data, or a piece of a frame of it: what has arrived is not held back. `fin` comes with the last piece."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """A control frame; `kind` is a number of `FrameKind`, or unknown."""

    kind: int
    flags: int
    payload: bytes

    def words(self, count: int) -> tuple[int, ...]:
        """The first `count` 32-bit words of the payload. Raises SpdyError when it is shorter."""
        if len(self.payload) < 4 * count:
            raise SpdyError(f"a frame of type {self.kind} has {len(self.payload)} bytes")
        return struct.unpack_from(f">{count}I", self.payload)


def control(kind: FrameKind, payload: bytes, flags: int = 0) -> bytes:
    """A control frame."""
    return HEADER.pack(CONTROL | VERSION << 16 | kind, flags << 24 | len(payload)) + payload


def data(stream: int, content: bytes, *, fin: bool = False) -> bytes:
    """Data, in frames of `DATA_LIMIT`; without content one empty frame."""
    pieces = [content[start : start + DATA_LIMIT] for start in range(0, len(content), DATA_LIMIT)] or [b""]
    frames = [HEADER.pack(stream, len(piece)) + piece for piece in pieces[:-1]]
    frames.append(HEADER.pack(stream, (FIN if fin else 0) << 24 | len(pieces[-1])) + pieces[-1])
    return b"".join(frames)


def syn_stream(stream: int, block: bytes, flags: int = 0) -> bytes:
    """SYN_STREAM, associated with no other stream, of the highest priority (2.6.1)."""
    return control(FrameKind.SYN_STREAM, _TWO_WORDS.pack(stream, 0) + b"\0\0" + block, flags)


def syn_reply(stream: int, block: bytes) -> bytes:
    """SYN_REPLY (2.6.2)."""
    return control(FrameKind.SYN_REPLY, _WORD.pack(stream) + block)


def rst_stream(stream: int, status: Status) -> bytes:
    """RST_STREAM (2.6.3)."""
    return control(FrameKind.RST_STREAM, _TWO_WORDS.pack(stream, status))


def settings(values: Mapping[SpdySetting, int]) -> bytes:
    """SETTINGS (2.6.4); without values they mean nothing."""
    return control(
        FrameKind.SETTINGS, _WORD.pack(len(values)) + b"".join(_TWO_WORDS.pack(*pair) for pair in values.items())
    )


def ping(number: int) -> bytes:
    """PING (2.6.5): the peer sends it back."""
    return control(FrameKind.PING, _WORD.pack(number))


def goaway(last_stream: int, status: GoAwayStatus) -> bytes:
    """GOAWAY (2.6.6): `last_stream` is the last of the peer's that was accepted."""
    return control(FrameKind.GOAWAY, _TWO_WORDS.pack(last_stream, status))


def window_update(stream: int, delta: int) -> bytes:
    """WINDOW_UPDATE (2.6.8): `delta` more bytes may come on a stream, or on 0, the session (3.1)."""
    return control(FrameKind.WINDOW_UPDATE, _TWO_WORDS.pack(stream, delta))


def settings_of(frame: ControlFrame) -> dict[int, int]:
    """The values of a SETTINGS frame by their ids (2.6.4). Raises SpdyError when it is cut."""
    (count,) = frame.words(1)
    words = frame.words(1 + 2 * count)
    return {number & MASK_24: value for number, value in zip(words[1::2], words[2::2], strict=True)}


def stream_of(word: int) -> int:
    """The stream that a word of a frame names: its first bit is reserved."""
    return word & _MASK_31
