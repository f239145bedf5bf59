"""Frames on a byte stream: a 4-byte big-endian length, then that many bytes; without I/O.

The control channel carries UTF-8 JSON objects of at most `MAX_FRAME` bytes. A byte stream carries raw chunks of at
most `STREAM_CHUNK` bytes, where an empty chunk says end of file (docs/protocol.md).
"""

import json
import re
import struct
from collections.abc import Iterator

from vmsandbox.protocol.codec import JSON

MAX_FRAME = 4 * 1024 * 1024
"""Bytes in a control frame, its length field not counted."""

STREAM_CHUNK = 16 * 1024
"""Bytes in a chunk; vhost-device-vsock 0.3 hangs on guest packets of several descriptors (over 32 KiB)."""

NESTING = 32
"""Arrays and objects that may stand within each other in a control frame; the OCI runtime-spec needs about ten."""

_LENGTH = struct.Struct(">I")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
"""To its end, or to that of the text: a string without an end is looked at once, not again from each quote in it."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class ProtocolError(ValueError):
    """The peer broke the protocol; the connection has to end, and the text is the reason."""


def pack(payload: bytes, limit: int = MAX_FRAME) -> bytes:
    """A frame holding `payload`.

    Raises:
        ProtocolError: the payload is larger than `limit` bytes.
    """
    if len(payload) > limit:
        raise ProtocolError(f"a frame of {len(payload)} bytes exceeds the limit of {limit}")
    return _LENGTH.pack(len(payload)) + payload


def pack_json(message: JSON) -> bytes:
    """A control frame holding `message`. Raises ProtocolError when it is larger than `MAX_FRAME`."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return pack(text.encode(errors="backslashreplace"))  # A lone surrogate becomes the JSON escape that it is.


def parse_json(payload: bytes) -> dict[str, JSON]:
    """The JSON object in a control frame.

    Raises:
        ProtocolError: it is not UTF-8, not JSON (which has neither NaN nor Infinity), nested deeper than `NESTING`, or
            not an object.
    """
    if _is_deep(payload):
        raise ProtocolError(f"a frame is nested deeper than {NESTING}, or not JSON")
    try:
        message = json.loads(payload.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a frame is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise ProtocolError(f"a frame holds a {type(message).__name__}, not an object")
    return message


def _is_deep(payload: bytes) -> bool:
    """Whether more than `NESTING` brackets are open at once, or some are never closed; without parsing anything."""
    if payload.count(b"[") + payload.count(b"{") <= NESTING:
        return False
    brackets = _STRING.sub(b"", payload).translate(None, _NO_BRACKETS)
    for _ in range(NESTING):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


class FrameReader:
    """Cuts received bytes into frames, holding at most one incomplete frame."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        """Accept payloads of at most `limit` bytes."""
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes in and yield the payload of every frame they complete.

        Raises:
            ProtocolError: a length field exceeds the limit; nothing after it can be understood.
        """
        self.append(data)
        while (payload := self.next_frame()) is not None:
            yield payload

    def append(self, data: bytes) -> None:
        """Take bytes in, for `next_frame`."""
        self._buffer += data

    def next_frame(self, limit: int | None = None) -> bytes | None:
        """Take the payload of the first frame out, or None when it is not complete.

        Raises:
            ProtocolError: its length field exceeds `limit` (by default the reader's own).
        """
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > (limit := self._limit if limit is None else limit):
            raise ProtocolError(f"a frame of {length} bytes exceeds the limit of {limit}")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return payload

    def pending(self) -> int:
        """Bytes of the incomplete frame; not 0 at the end of the stream means that it was cut."""
        return len(self._buffer)
