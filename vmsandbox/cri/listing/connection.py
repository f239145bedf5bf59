"""Unary calls of gRPC over a Unix socket, one after the other (gRPC over HTTP/2, RFC 9113; headers by RFC 7541)."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from vmsandbox.cri import MESSAGE_LIMIT

TIMEOUT = 5.0
"""Seconds, as in `cri.client` for a connection."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_LARGEST_WINDOW = 2**31 - 1
_LARGEST_FRAME = 2**24 - 1
_FIRST_WINDOW = 65535

_OUR_SETTINGS = b"".join(
    key.to_bytes(2) + value.to_bytes(4)
    for key, value in (
        (1, 0),  # HEADER_TABLE_SIZE: every header of an answer is then written out, and can be read by itself
        (2, 0),  # ENABLE_PUSH
        (4, _LARGEST_WINDOW),  # INITIAL_WINDOW_SIZE
        (5, _LARGEST_FRAME),  # MAX_FRAME_SIZE
    )
)
_STATUS_OK = b"\x0bgrpc-status\x010"
"""The header grpc-status: 0, each of its strings behind its length."""


class Unusual(Exception):
    """The runtime did not give the plain answer: an error, a delay, or a form that is not read here."""


def is_served(path: Path) -> bool:
    """Whether a process listens on a socket. Raises Unusual where that cannot be known, or it takes no connection."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError as error:
            raise Unusual(str(error)) from None
    return True


class Connection:
    """A connection to a runtime, for as long as the context lasts."""

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        """Connect to a socket. Raises Unusual if that fails.

        Args:
            path: the socket.
            timeout: seconds in which the connection is taken, and in which each part of an answer comes.
        """
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._unread = bytearray()
        self._stream = -1
        window = (_LARGEST_WINDOW - _FIRST_WINDOW).to_bytes(4)
        greeting = _PREFACE + _frame(_SETTINGS, 0, 0, _OUR_SETTINGS) + _frame(_WINDOW_UPDATE, 0, 0, window)
        try:
            self._socket.connect(os.fspath(path))
            self._socket.sendall(greeting)
        except OSError as error:
            self._socket.close()
            raise Unusual(str(error)) from None

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._socket.close()

    def call(self, method: str, request: bytes) -> bytes:
        """Make a call (`/runtime.v1.RuntimeService/ListContainers`) and return its answer. Raises Unusual."""
        self._stream += 2
        message = b"\0" + len(request).to_bytes(4) + request
        headers = _frame(_HEADERS, _END_HEADERS, self._stream, _headers(method))
        self._send(headers + _frame(_DATA, _END_STREAM, self._stream, message))
        answer = bytearray()
        for kind, flags, payload in self._frames():
            if kind == _DATA:
                answer += payload
            if kind == _HEADERS and flags & _END_STREAM:
                return _message(payload, answer)
            if len(answer) > MESSAGE_LIMIT or flags & _END_STREAM:
                break
        raise Unusual("the answer is too large, or has no end")

    def _frames(self) -> Iterator[tuple[int, int, bytes]]:
        """Give the frames of the call: kind, flags and payload. Those of the connection are answered."""
        while True:
            head = self._read(9)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:]) & _LARGEST_WINDOW
            payload = self._read(int.from_bytes(head[:3]))
            if kind in (_SETTINGS, _PING):
                if not flags & _ACK:
                    self._send(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
            elif stream == self._stream and kind in (_DATA, _HEADERS) and _is_plain(kind, flags):
                yield kind, flags, payload
            elif kind != _WINDOW_UPDATE:
                raise Unusual(f"a frame of kind {kind}, flags {flags}")

    def _read(self, count: int) -> bytes:
        while len(self._unread) < count:
            try:
                data = self._socket.recv(1 << 16)
            except OSError as error:
                raise Unusual(str(error)) from None
            if not data:
                raise Unusual("the connection was closed")
            self._unread += data
        taken = bytes(self._unread[:count])
        del self._unread[:count]
        return taken

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Unusual(str(error)) from None


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def _is_plain(kind: int, flags: int) -> bool:
    """Whether a frame has no padding and no priority, and headers are in one piece."""
    return flags | _END_STREAM == (_END_STREAM | _END_HEADERS if kind == _HEADERS else _END_STREAM)


def _headers(method: str) -> bytes:
    """The headers of a call; numbers are those of RFC 7541's static table."""
    fields = (
        b"\x83\x86",  # :method POST, :scheme http
        b"\x04" + _text(method),  # :path
        b"\x01" + _text("localhost"),  # :authority
        b"\x0f\x10" + _text("application/grpc"),  # content-type
        b"\x00" + _text("te") + _text("trailers"),
    )
    return b"".join(fields)


def _text(value: str) -> bytes:
    encoded = value.encode()
    assert len(encoded) < 0x7F, "its length takes one byte"
    return bytes([len(encoded)]) + encoded


def _message(trailers: bytes, answer: bytearray) -> bytes:
    """The message of an answer, which was successful, is one, and is not compressed. Raises Unusual otherwise."""
    if _STATUS_OK not in trailers or answer[:1] != b"\0" or int.from_bytes(answer[1:5]) != len(answer) - 5:
        raise Unusual("not a successful answer with one message")
    return bytes(answer[5:])
