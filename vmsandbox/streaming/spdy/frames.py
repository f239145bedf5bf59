"""SPDY/3 frames: bytes to frames, however they are cut, and back (draft-mbelshe-httpbis-spdy-00, 2.2 and 2.6).

A frame is 8 bytes of header and a payload of at most 16 MiB - 1. The first bit tells control frames (1, version 3 in
15 bits, type in 16 bits) from data frames (0, stream in 31 bits); 8 bits of flags and 24 bits of length follow.
"""

import enum
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

VERSION = 3
FIN = 0x01
"""Flag of SYN_STREAM, SYN_REPLY, HEADERS and data: the sender sends nothing more on this stream."""
UNIDIRECTIONAL = 0x02
"""Flag of SYN_STREAM: the receiver sends nothing on this stream."""

CONTROL_LIMIT = 32 * 1024
"""Bytes that the payload of a control frame may have; the draft asks for 8 KiB at least."""
DATA_LIMIT = 16 * 1024
"""Bytes of data that are put into one frame, so that streams take turns."""

_HEADER = struct.Struct(">II")
_WORD = struct.Struct(">I")
_TWO_WORDS = struct.Struct(">II")
_CONTROL = 0x8000_0000
_MASK_31 = 0x7FFF_FFFF
_MASK_24 = 0xFF_FFFF


class SpdyError(Exception):
    """The peer broke the protocol, and the session ends."""


class Kind(enum.IntEnum):
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
    """Why a stream is reset (2.6.3)."""

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
    """Why a session ends (2.6.6)."""

    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class Setting(enum.IntEnum):
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
    """A control frame; `kind` is a number of `Kind`, or unknown."""

    kind: int
    flags: int
    payload: bytes

    def words(self, count: int) -> tuple[int, ...]:
        """The first `count` 32-bit words of the payload. Raises SpdyError when it is shorter."""
        if len(self.payload) < 4 * count:
            raise SpdyError(f"a frame of type {self.kind} has {len(self.payload)} bytes")
        return struct.unpack_from(f">{count}I", self.payload)


class FrameReader:
    """Cuts a stream of bytes into frames. Holds at most one control frame of `CONTROL_LIMIT`."""

    def __init__(self) -> None:
        """Begin with a frame's first byte."""
        self._buffer = bytearray()
        self._stream = 0
        self._flags = 0
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[DataFrame | ControlFrame]:
        """The frames, and pieces of data frames, that `data` completes. Raises SpdyError."""
        self._buffer += data
        while (frame := self._piece() if self._missing else self._frame()) is not None:
            yield frame

    def _piece(self) -> DataFrame | None:
        """What has arrived of the data frame that was begun."""
        piece = bytes(self._buffer[: self._missing])
        if not piece:
            return None
        del self._buffer[: len(piece)]
        self._missing -= len(piece)
        return DataFrame(self._stream, piece, not self._missing and bool(self._flags & FIN))

    def _frame(self) -> DataFrame | ControlFrame | None:
        if len(self._buffer) < _HEADER.size:
            return None
        first, second = _HEADER.unpack_from(self._buffer)
        flags, length = second >> 24, second & _MASK_24
        if first & _CONTROL:
            return self._control(first, flags, length)
        del self._buffer[: _HEADER.size]
        self._stream, self._flags, self._missing = first, flags, length
        return self._piece() if length else DataFrame(first, b"", bool(flags & FIN))

    def _control(self, first: int, flags: int, length: int) -> ControlFrame | None:
        if (version := first >> 16 & 0x7FFF) != VERSION:
            raise SpdyError(f"version {version}, not {VERSION}")
        if length > CONTROL_LIMIT:
            raise SpdyError(f"a control frame of {length} bytes")
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        return ControlFrame(first & 0xFFFF, flags, payload)


def control(kind: Kind, payload: bytes, flags: int = 0) -> bytes:
    """A control frame."""
    return _HEADER.pack(_CONTROL | VERSION << 16 | kind, flags << 24 | len(payload)) + payload


def data(stream: int, content: bytes, *, fin: bool = False) -> bytes:
    """Data, in frames of `DATA_LIMIT`; without content one empty frame."""
    pieces = [content[start : start + DATA_LIMIT] for start in range(0, len(content), DATA_LIMIT)] or [b""]
    frames = [_HEADER.pack(stream, len(piece)) + piece for piece in pieces[:-1]]
    frames.append(_HEADER.pack(stream, (FIN if fin else 0) << 24 | len(pieces[-1])) + pieces[-1])
    return b"".join(frames)


def syn_stream(stream: int, block: bytes, flags: int = 0) -> bytes:
    """SYN_STREAM, associated with no other stream, of the highest priority (2.6.1)."""
    return control(Kind.SYN_STREAM, _TWO_WORDS.pack(stream, 0) + b"\0\0" + block, flags)


def syn_reply(stream: int, block: bytes) -> bytes:
    """SYN_REPLY (2.6.2)."""
    return control(Kind.SYN_REPLY, _WORD.pack(stream) + block)


def rst_stream(stream: int, status: Status) -> bytes:
    """RST_STREAM (2.6.3)."""
    return control(Kind.RST_STREAM, _TWO_WORDS.pack(stream, status))


def settings(values: Mapping[Setting, int]) -> bytes:
    """SETTINGS (2.6.4); without values they mean nothing."""
    return control(Kind.SETTINGS, _WORD.pack(len(values)) + b"".join(_TWO_WORDS.pack(*pair) for pair in values.items()))


def ping(number: int) -> bytes:
    """PING (2.6.5): the peer sends it back."""
    return control(Kind.PING, _WORD.pack(number))


def goaway(last_stream: int, status: GoAwayStatus) -> bytes:
    """GOAWAY (2.6.6): `last_stream` is the last of the peer's that was accepted."""
    return control(Kind.GOAWAY, _TWO_WORDS.pack(last_stream, status))


def window_update(stream: int, delta: int) -> bytes:
    """WINDOW_UPDATE (2.6.8): `delta` more bytes may come on a stream, or on 0, the session (3.1)."""
    return control(Kind.WINDOW_UPDATE, _TWO_WORDS.pack(stream, delta))


def settings_of(frame: ControlFrame) -> dict[int, int]:
    """The values of a SETTINGS frame by their ids (2.6.4). Raises SpdyError when it is cut."""
    (count,) = frame.words(1)
    words = frame.words(1 + 2 * count)
    return {number & _MASK_24: value for number, value in zip(words[1::2], words[2::2], strict=True)}


def stream_of(word: int) -> int:
    """The stream that a word of a frame names: its first bit is reserved."""
    return word & _MASK_31
