"""Dataclasses to JSON values and back, strictly: the one codec of the protocol and of the state records.

Understood are str, int, float, bool, None, `JSON` (anything JSON can say), enums, dataclasses, `X | None`,
`tuple[X, ...]`, `dict[X, Y]`, and `Annotated[X, …]` with `bounds`. Decoding checks every value against
its annotation, refuses unknown keys and names the place of the first fault, since the other side may be hostile.
"""

import dataclasses
import enum
import functools
import sys
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union

from vmsandbox.protocol.bounds import JSON as JSON  # noqa: PLC0414 - those who encode need its name

T = TypeVar("T")

_COLLECTIONS: Mapping[Any, type] = {tuple: list, dict: dict}
"""The types of collections in annotations, and those in JSON."""


class MalformedMessage(ValueError):
    """A value does not have the form that its dataclass declares; the text says where."""


def encode(value: Any) -> JSON:
    """The JSON value of a dataclass (fields that stand at their default are left out) or of a part of one."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: encode(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.default is dataclasses.MISSING or getattr(value, field.name) != field.default
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    return value


def decode(kind: type[T], data: JSON, where: str = "") -> T:
    """The dataclass `kind` that `data` describes.

    Raises:
        MalformedMessage: a value has another type than declared, a field is missing, or a key is unknown.
    """
    return typing.cast(T, _decode(kind, data, where or kind.__name__))


@functools.cache
def hints(kind: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, by their names."""
    every = typing.get_type_hints(kind, include_extras=True)
    return {field.name: every[field.name] for field in dataclasses.fields(kind)}


def _decode(kind: Any, data: JSON, where: str) -> Any:
    if kind is Any:
        return data
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast(type, kind), data, where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _decode_enum(kind, data, where)
    if typing.get_origin(kind) is not None:
        return _decode_generic(kind, data, where)
    return _checked(kind, data, where)


def _decode_generic(kind: Any, data: JSON, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_optional(kind, data, where)
    if origin is Annotated:
        return _decode_bounded(kind, data, where)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        return tuple(_decode(item, x, f"{where}[{i}]") for i, x in enumerate(_checked(list, data, where)))
    name, item = typing.get_args(kind)
    values = _checked(dict, data, where)
    return {_decode(name, k, where): _decode(item, v, f"{where}.{k}") for k, v in values.items()}


def _decode_bounded(kind: Any, data: JSON, where: str) -> Any:
    inner, *bounds = typing.get_args(kind)
    collection = _COLLECTIONS.get(typing.get_origin(inner))
    # A collection's size is looked at before its items, so that one beyond its bounds costs no decoding.
    value = _decode(inner, data, where) if collection is None else _checked(collection, data, where)
    for bound in bounds:
        if not bound.holds(value):
            raise MalformedMessage(f"{where}: not within {bound}")
    return value if collection is None else _decode(inner, value, where)


def _decode_dataclass(kind: type, data: JSON, where: str) -> Any:
    values = _checked(dict, data, where)
    known = hints(kind)
    unknown = values.keys() - known.keys()
    if unknown:
        raise MalformedMessage(f"{where}: unknown field {min(unknown)!r}")
    decoded = {name: _decode(known[name], value, f"{where}.{name}") for name, value in values.items()}
    try:
        return kind(**decoded)
    except TypeError as error:
        raise MalformedMessage(f"{where}: {error}") from None


def _decode_enum(kind: type[enum.Enum], data: JSON, where: str) -> enum.Enum:
    try:
        return kind(data)
    except ValueError:
        raise MalformedMessage(f"{where}: {data!r} is not one of {[member.value for member in kind]}") from None


def _decode_optional(kind: Any, data: JSON, where: str) -> Any:
    if data is None:
        return None
    (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))
    return _decode(inner, data, where)


def _checked(kind: type, data: JSON, where: str) -> Any:
    """`data` itself when it is of `kind`; an int passes as float, a bool never as a number."""
    if kind is float and type(data) is int and abs(data) <= sys.float_info.max:
        return float(data)
    if type(data) is not kind:
        raise MalformedMessage(f"{where}: expected {kind.__name__}, got {type(data).__name__}")
    return data
