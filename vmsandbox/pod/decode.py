"""From the tree of a manifest to the dataclasses of `pod.api`, strictly.

A dataclass declares the fields that are honoured, in snake_case, and two tables for the rest of its Kubernetes type:
`REFUSED` names fields that this runner does not honour, each with the reason; `IGNORED` those that mean nothing to a
single machine. Anything else is unknown, and an error as well.
"""

import base64
import binascii
import dataclasses
import difflib
import enum
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from vmsandbox.pod.quantity import Quantity
from vmsandbox.pod.tree import NOWHERE, Node

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Base of what a manifest holds: it knows where it stands."""

    REFUSED: ClassVar[Mapping[str, str]] = types.MappingProxyType({})
    IGNORED: ClassVar[frozenset[str]] = frozenset()

    at: Node = dataclasses.field(default=NOWHERE, compare=False, repr=False)


def decode(kind: type[T], node: Node) -> T:
    """The `kind` that the tree describes.

    Raises:
        InvalidArgument: a value has the wrong type, a field is missing, unknown or refused; it says where.
    """
    return typing.cast(T, _decode(kind, node))


def yaml_name(field: dataclasses.Field[Any]) -> str:
    """The name that a field has in a manifest: camelCase, or what its metadata says."""
    first, *rest = field.name.split("_")
    return str(field.metadata.get("key") or first + "".join(word.capitalize() for word in rest))


@functools.cache
def _fields(kind: Any) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    fields = (field for field in dataclasses.fields(kind) if field.name != "at")
    return {yaml_name(field): (field, hints[field.name]) for field in fields}


def _decode(kind: Any, node: Node) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(tuple(arg for arg in args if arg is not type(None)), node)
    if origin is tuple:
        return tuple(_decode(args[0], item) for item in _sequence(node))
    if origin is dict:
        return {key: _decode(args[1], value) for key, value in _mapping(node).items()}
    if issubclass(kind, Located):
        return _decode_dataclass(kind, node)
    if issubclass(kind, enum.Enum):
        return _decode_enum(kind, node)
    return _SCALARS[kind](node)


def _decode_dataclass(kind: Any, node: Node) -> Located:
    fields = _fields(kind)
    values: dict[str, Any] = {}
    for key, value in _mapping(node).items():
        if key not in fields:
            _check_ignored(kind, key, value)
        elif value.value is not None:
            field, hint = fields[key]
            values[field.name] = _decode(hint, value)
    for key, (field, _) in fields.items():
        if field.name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise node.of(key).error("this field is required")
    return typing.cast(Located, kind(at=node, **values))


def _check_ignored(kind: Any, key: str, value: Node) -> None:
    if key in kind.IGNORED or (key in kind.REFUSED and value.value in (None, (), {})):
        return
    if key in kind.REFUSED:
        raise value.error(f"this field is not supported: {kind.REFUSED[key]}")
    near = difflib.get_close_matches(key, [*_fields(kind), *kind.REFUSED, *kind.IGNORED], n=1)
    raise value.error("there is no such field", hint=f"did you mean {near[0]}?" if near else "")


def _decode_union(kinds: tuple[Any, ...], node: Node) -> Any:
    """`X | None`, and Kubernetes' IntOrString."""
    if len(kinds) == 1:
        return _decode(kinds[0], node)
    for kind in kinds:
        if type(node.value) is kind:
            return node.value
    raise node.error(f"expected {' or '.join(_NAMES[kind] for kind in kinds)}, not {_described(node)}")


def _decode_enum(kind: type[enum.Enum], node: Node) -> enum.Enum:
    text = _string(node)
    try:
        return kind(text)
    except ValueError:
        choices = ", ".join(repr(member.value) for member in kind)
        raise node.error(f"{text[:80]!r} is not one of {choices}") from None


def _mapping(node: Node) -> dict[str, Node]:
    if node.value is None:
        return {}
    if not isinstance(node.value, dict):
        raise node.error(f"expected a mapping, not {_described(node)}")
    return node.value


def _sequence(node: Node) -> tuple[Node, ...]:
    if node.value is None:
        return ()
    if not isinstance(node.value, tuple):
        raise node.error(f"expected a list, not {_described(node)}")
    return node.value


def _string(node: Node) -> str:
    if node.value is None:
        return ""
    if not isinstance(node.value, str):
        quote = not isinstance(node.value, (dict, tuple))
        raise node.error(f"expected a string, not {_described(node)}", hint=f'"{node.text}"' if quote else "")
    return node.value


def _integer(node: Node) -> int:
    if type(node.value) is not int:
        raise node.error(f"expected an integer, not {_described(node)}")
    if abs(node.value) >= 2**63:
        raise node.error("the number is too large")
    return node.value


def _boolean(node: Node) -> bool:
    if type(node.value) is not bool:
        raise node.error(f"expected true or false, not {_described(node)}")
    return node.value


def _bytes(node: Node) -> bytes:
    try:
        return base64.b64decode("".join(_string(node).split()), validate=True)
    except (binascii.Error, ValueError):
        raise node.error("this is not base64") from None


def _quantity(node: Node) -> Quantity:
    if isinstance(node.value, (dict, tuple, bool)):
        raise node.error(f"expected a quantity, not {_described(node)}")
    try:
        return Quantity.parse(node.text)
    except ValueError as error:
        raise node.error(str(error)) from None


_SCALARS: dict[Any, Any] = {
    str: _string, int: _integer, bool: _boolean, bytes: _bytes, Quantity: _quantity,
}  # fmt: skip

_NAMES = {str: "a string", int: "an integer", bool: "a boolean", float: "a number", dict: "a mapping", tuple: "a list"}


def _described(node: Node) -> str:
    if isinstance(node.value, (dict, tuple)):
        return _NAMES[type(node.value)]
    return "nothing" if node.value is None else f"{_NAMES[type(node.value)]} ({node.text[:80]})"
