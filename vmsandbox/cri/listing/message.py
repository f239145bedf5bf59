"""Reads a message of protobuf by the numbers of its fields (protobuf.dev/programming-guides/encoding)."""

from collections import defaultdict
from collections.abc import Iterator

from vmsandbox.cri.listing.connection import Unusual

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}


class Message:
    """The fields of a message. One that is not there has the value that protobuf gives it: 0, the empty text."""

    def __init__(self, data: bytes) -> None:
        """Take a message apart. Raises Unusual if it is not one."""
        self._numbers: dict[int, int] = {}
        self._parts: defaultdict[int, list[bytes]] = defaultdict(list)
        for field, value in _fields(data):
            if isinstance(value, int):
                self._numbers[field] = value
            else:
                self._parts[field].append(value)

    def number(self, field: int) -> int:
        """Return an unsigned number, a truth value or an enumeration's."""
        return self._numbers.get(field, 0)

    def text(self, field: int) -> str:
        """Return a text."""
        return next(reversed(self.texts(field)), "")

    def texts(self, field: int) -> tuple[str, ...]:
        """Return a repeated text."""
        try:
            return tuple(part.decode() for part in self._parts[field])
        except UnicodeDecodeError as error:
            raise Unusual(str(error)) from None

    def message(self, field: int) -> "Message":
        """Return a message; its parts, where it comes in several, are one."""
        return Message(b"".join(self._parts[field]))

    def has(self, field: int) -> bool:
        """Whether a message is there."""
        return field in self._parts and bool(self._parts[field])

    def messages(self, field: int) -> "Iterator[Message]":
        """Return a repeated message."""
        return map(Message, self._parts[field])

    def pairs(self, field: int) -> dict[str, str]:
        """Return a map from text to text."""
        return {pair.text(1): pair.text(2) for pair in self.messages(field)}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif (length := _FIXED.get(kind, -1)) < 0:
            raise Unusual(f"a field of the kind {kind}")
        if (end := at + length) > len(data):
            raise Unusual("a field beyond the message's end")
        if kind == _BYTES:
            yield key >> 3, data[at:end]
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number, and where it ends."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Unusual("a number without an end")
