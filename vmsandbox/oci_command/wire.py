"""The frames between the command and the daemon, on a Unix socket (docs/oci.md, "The socket").

A frame is a kind (one byte), a length (four bytes, big-endian) and that many bytes. The first frame of a connection is
a request; its answer is the first frame the other way. After `attach` and `exec` there are streams. Both ends use this
module, which imports the standard library alone and does no I/O.
"""

import json
import struct
from typing import Any

VERSION = 1
"""The version of the protocol, in every request: a daemon that does not speak it says so."""

SOCKET = "oci.sock"
"""The name of the socket, in the daemon's run directory."""

MESSAGE, STDIN, STDOUT, STDERR, SIGNAL, WINDOW, EXIT = (b"m", b"i", b"o", b"e", b"s", b"w", b"x")
"""The kinds: JSON; pieces of streams, of which an empty one of STDIN is its end; the number of a signal; columns and
rows; the exit status, which is the last frame."""

MOST = 4 * 1024 * 1024
"""Bytes of a frame."""

PIECE = 64 * 1024
"""Bytes of a stream that are read and sent at once."""

HEADER = struct.Struct(">cI")
_NUMBERS = struct.Struct(">HH")


class WireError(ValueError):
    """The other end does not keep to the protocol."""


def pack(kind: bytes, payload: bytes = b"") -> bytes:
    """Return a frame. Raises WireError: the payload is too long."""
    if len(payload) > MOST:
        raise WireError(f"a message of {len(payload)} bytes is longer than {MOST}")
    return HEADER.pack(kind, len(payload)) + payload


def pack_message(message: Any) -> bytes:
    """Return a frame with JSON. Raises WireError."""
    return pack(MESSAGE, json.dumps(message).encode())


def pack_number(kind: bytes, number: int) -> bytes:
    """Return a frame with the number of a signal, or an exit status."""
    return pack(kind, b"%d" % number)


def pack_window(columns: int, rows: int) -> bytes:
    """Return a frame with the size of a terminal."""
    return pack(WINDOW, _NUMBERS.pack(columns, rows))


def header(data: bytes) -> tuple[bytes, int]:
    """Return the kind and the length of the frame that begins so. Raises WireError: it is too long."""
    kind, length = HEADER.unpack(data)
    if length > MOST:
        raise WireError(f"a message of {length} bytes is longer than {MOST}")
    return kind, length


def message(payload: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises WireError."""
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a message is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise WireError("a message is not a JSON object")
    return found


def number(payload: bytes) -> int:
    """Return the number of a signal, or an exit status. Raises WireError."""
    if not payload.isdigit() or len(payload) > 3:
        raise WireError(f"{payload[:20]!r} is not a number")
    return int(payload)


def window(payload: bytes) -> tuple[int, int]:
    """Return columns and rows. Raises WireError."""
    try:
        columns, rows = _NUMBERS.unpack(payload)
    except struct.error:
        raise WireError("the size of a window is not two numbers") from None
    return columns, rows
