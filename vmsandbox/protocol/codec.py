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
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union

from vmsandbox.protocol.bounds import JSON as JSON  # noqa: PLC0414 - those who encode need its name
from vmsandbox.protocol.bounds import Bound

T = TypeVar("T")

_PLAIN = frozenset((str, int, float, bool, type(None)))
"""The types whose values are JSON values."""

_COLLECTIONS: Mapping[Any, type] = {tuple: list, dict: dict}
"""The types of collections in annotations, and those in JSON."""


class MalformedMessage(ValueError):
    """A value does not have the form that its dataclass declares; the text says where."""


def encode(value: Any) -> JSON:
    """The JSON value of a dataclass (fields that stand at their default are left out) or of a part of one."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    return _encode_dataclass(kind, value) if dataclasses.is_dataclass(kind) else value


def _encode_dataclass(kind: type, value: Any) -> dict[str, JSON]:
    encoded = {}
    for name, default in _defaults(kind):
        item = getattr(value, name)
        if default is dataclasses.MISSING or item != default:
            encoded[name] = encode(item)
    return encoded


@functools.cache
def _defaults(kind: type) -> tuple[tuple[str, Any], ...]:
    """The names and the defaults of a dataclass's fields."""
    return tuple((field.name, field.default) for field in dataclasses.fields(kind))


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
    return _decoder(kind)(data, where)


@functools.cache
def _decoder(kind: Any) -> Callable[[JSON, str], Any]:
    """Return what decodes values of an annotation, which is looked at once."""
    if kind is Any:
        return lambda data, _: data
    if dataclasses.is_dataclass(kind):
        return functools.partial(_decode_dataclass, typing.cast(type, kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return functools.partial(_decode_enum, kind)
    if typing.get_origin(kind) is not None:
        return _generic_decoder(kind)
    return functools.partial(_checked, kind)


def _generic_decoder(kind: Any) -> Callable[[JSON, str], Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return functools.partial(_decode_optional, inner)
    if origin is Annotated:
        return _bounded_decoder(arguments[0], arguments[1:])
    if origin is tuple:
        return functools.partial(_decode_tuple, arguments[0])
    return functools.partial(_decode_dict, *arguments)


def _decode_tuple(item: Any, data: JSON, where: str) -> tuple[Any, ...]:
    values, decode_item = _checked(list, data, where), _decoder(item)
    return tuple(decode_item(value, f"{where}[{number}]") for number, value in enumerate(values))


def _decode_dict(name: Any, item: Any, data: JSON, where: str) -> dict[Any, Any]:
    values, decode_name, decode_item = _checked(dict, data, where), _decoder(name), _decoder(item)
    return {decode_name(key, where): decode_item(value, f"{where}.{key}") for key, value in values.items()}


def _bounded_decoder(inner: Any, bounds: Sequence[Bound]) -> Callable[[JSON, str], Any]:
    collection = _COLLECTIONS.get(typing.get_origin(inner))

    def decode_bounded(data: JSON, where: str) -> Any:
        # A collection's size is looked at before its items, so that one beyond its bounds costs no decoding.
        value = _decode(inner, data, where) if collection is None else _checked(collection, data, where)
        for bound in bounds:
            if not bound.holds(value):
                raise MalformedMessage(f"{where}: not within {bound}")
        return value if collection is None else _decode(inner, value, where)

    return decode_bounded


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


def _decode_optional(inner: Any, data: JSON, where: str) -> Any:
    return None if data is None else _decode(inner, data, where)


def _checked(kind: type, data: JSON, where: str) -> Any:
    """`data` itself when it is of `kind`; an int passes as float, a bool never as a number."""
    if kind is float and type(data) is int and abs(data) <= sys.float_info.max:
        return float(data)
    if type(data) is not kind:
        raise MalformedMessage(f"{where}: expected {kind.__name__}, got {type(data).__name__}")
    return data
