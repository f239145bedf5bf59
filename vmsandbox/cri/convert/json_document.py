"""A message as the JSON document that `crictl inspect` shows: the proto's field names, numbers as numbers."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from vmsandbox.protocol.codec import JSON


def document(message: Message) -> dict[str, JSON]:
    """The fields that are set; what protobuf's own JSON writes as text (64-bit numbers, enumerations) is a number."""
    return {descriptor.name: _field(descriptor, value) for descriptor, value in message.ListFields()}


def _field(descriptor: FieldDescriptor, value: Any) -> JSON:
    if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
        return dict(value)
    if descriptor.is_repeated:
        return [_value(item) for item in _items(value)]
    return _value(value)


def _items(value: Iterable[Any]) -> Iterable[Any]:
    return value


def _value(value: Any) -> JSON:
    return document(value) if isinstance(value, Message) else value
