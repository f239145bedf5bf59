"""Messages as JSON documents: for the verbose status, and for people and programs that inspect something."""

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from vmsandbox.moments import rfc3339
from vmsandbox.protocol.codec import JSON

_TIMES = frozenset({"created_at", "started_at", "finished_at", "timestamp"})
"""The fields of the CRI that hold nanoseconds since the epoch."""

_PREFIXES = ("SANDBOX_", "CONTAINER_", "PROPAGATION_")


def document(message: Message) -> dict[str, JSON]:
    """Convert as `crictl inspect` does: the fields that are set, under the proto's names.

    What protobuf's own JSON writes as text (64-bit numbers, enumerations) is a number.
    """
    return {descriptor.name: _field(descriptor, value, _plain) for descriptor, value in message.ListFields()}


def described(message: Message) -> dict[str, JSON]:
    """Convert for `vmsandbox inspect`: keys in camelCase, enumerations in words, times as RFC 3339 in UTC.

    Every field is there, also one that stands at zero (SANDBOX_READY is 0), except messages that are not set. A time
    that is not known is None.
    """
    return {
        str(descriptor.camelcase_name): _field(descriptor, getattr(message, descriptor.name), _in_words)
        for descriptor in _fields(message)
        if not _is_unset(message, descriptor)
    }


def redescribed(kind: type[Message], value: JSON) -> JSON:
    """Convert the document that a runtime tells of a message, as `described`; return anything else unchanged."""
    if not isinstance(value, dict):
        return value
    try:
        return described(json_format.ParseDict(value, kind(), ignore_unknown_fields=True))
    except json_format.ParseError:
        return value


def _fields(message: Message) -> Iterable[Any]:
    """Return the descriptors of all fields, whichever of its two kinds protobuf has for them."""
    return message.DESCRIPTOR.fields


def _is_unset(message: Message, descriptor: FieldDescriptor) -> bool:
    return bool(descriptor.has_presence) and not message.HasField(descriptor.name)


_Convert = Callable[[FieldDescriptor, Any], JSON]


def _field(descriptor: FieldDescriptor, value: Any, convert: _Convert) -> JSON:
    if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
        return dict(value)
    if descriptor.is_repeated:
        return [convert(descriptor, item) for item in _items(value)]
    return convert(descriptor, value)


def _items(value: Iterable[Any]) -> Iterable[Any]:
    return value


def _plain(_: FieldDescriptor, value: Any) -> JSON:
    return document(value) if isinstance(value, Message) else value


def _in_words(descriptor: FieldDescriptor, value: Any) -> JSON:
    if isinstance(value, Message):
        return described(value)
    if descriptor.enum_type is not None:
        return _word(descriptor, value)
    if descriptor.name in _TIMES:
        return rfc3339(value) if value else None
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _word(descriptor: FieldDescriptor, number: int) -> JSON:
    """Name a value of an enumeration, without the enumeration's own name; an unknown one stays a number."""
    kind = descriptor.enum_type
    known = kind.values_by_number.get(number) if kind is not None else None
    if known is None:
        return number
    name = str(known.name)
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
