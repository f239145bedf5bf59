"""How our own records are read: what a newer version of vmsandbox added is passed over.

The codec of the protocol refuses whatever it does not know, since the other side of vsock may be hostile. This reader
is for our own files alone. It takes out what its classes do not declare, and leaves the rest to that codec: types and
bounds are checked here, too.
"""

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union

from vmsandbox.model import PropagationMode
from vmsandbox.protocol.codec import JSON, decode, hints

T = TypeVar("T")

UNKNOWN: Mapping[type[enum.Enum], enum.Enum] = {PropagationMode: PropagationMode.PRIVATE}
"""The meaning of an unknown value. An enumeration that is not listed here makes its record unreadable: a guess
could give a container more than it was made with."""


def read(kind: type[T], data: JSON, where: str) -> T:
    """Return the dataclass `kind` (or a part of one) that `data` describes; a field that it lacks has its default.

    Raises:
        MalformedMessage: a value has another type than declared, or a field without a default is missing.
        ValueError: a number is not finite, or a text has half of a character: no client could be told of it.
    """
    found = known(kind, data)
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    return decode(kind, found, where)


def known(kind: Any, data: JSON) -> JSON:
    """Return `data` without what `kind` does not declare. What is of another type than declared stays as it is."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        return known(typing.get_args(kind)[0], data)
    if origin in (Union, types.UnionType):
        return data if data is None else known(_only(typing.get_args(kind)), data)
    if origin is tuple and isinstance(data, list):
        return [known(typing.get_args(kind)[0], item) for item in data]
    if isinstance(data, dict):
        return _known_object(kind, data)
    if kind in UNKNOWN and isinstance(data, str) and data not in [member.value for member in kind]:
        return UNKNOWN[kind].value
    return data


def _known_object(kind: Any, data: dict[str, JSON]) -> JSON:
    if typing.get_origin(kind) is dict:
        return {name: known(typing.get_args(kind)[1], value) for name, value in data.items()}
    if not dataclasses.is_dataclass(kind):
        return data
    fields = hints(typing.cast(type, kind))
    return {name: known(fields[name], value) for name, value in data.items() if name in fields}


def _only(options: tuple[Any, ...]) -> Any:
    """Return what is optional in `X | None`."""
    return next(option for option in options if option is not type(None))
