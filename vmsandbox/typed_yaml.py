"""YAML documents into frozen dataclasses, by their annotations; every error names the file, the line and the field.

What a YAML file of ours may hold is what its dataclasses say: unknown and repeated keys are errors, and so is a value
of another type. Aliases are refused (a few lines of them can stand for gigabytes).
"""

import dataclasses
import difflib
import enum
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NewType, TypeVar

import yaml

from vmsandbox.errors import InvalidArgument
from vmsandbox.quantity import Quantity

T = TypeVar("T")

Size = NewType("Size", int)
"""Bytes, written as a number or as a Kubernetes quantity: 256Mi."""

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: `source:line`, and the path of its field."""

    source: str
    line: int
    field: str = ""

    def error(self, text: str, hint: str = "") -> InvalidArgument:
        """An error about what stands here."""
        field = f" {self.field}:" if self.field else ""
        return InvalidArgument(f"{self.source}:{self.line}:{field} {text}", hint=hint)

    def at(self, node: yaml.Node, part: str) -> "Place":
        """The place of a value below this one."""
        field = f"{self.field}{part}" if part.startswith("[") or not self.field else f"{self.field}.{part}"
        return Place(self.source, node.start_mark.line + 1, field)


def compose(text: str, source: str) -> Iterator[tuple[yaml.Node, Place]]:
    """The documents of a YAML stream and where each begins; empty ones are left out.

    Raises:
        InvalidArgument: it is no YAML, or holds an alias.
    """
    try:
        for node in yaml.compose_all(text, _Loader):
            if node.tag != f"{_TAG}null":
                yield node, Place(source, node.start_mark.line + 1)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Place(source, line).error(error.problem or "this is no YAML") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise Place(source, 1).error(f"this is no YAML: {error}") from None


class _Loader(yaml.SafeLoader):
    """Refuses aliases while it composes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not supported", problem_mark=mark)
        return super().compose_node(parent, index)


def decode(kind: type[T], node: yaml.Node, place: Place) -> T:
    """The value of `kind` that a node describes.

    Args:
        kind: a dataclass, `bool`, `int`, `float`, `str`, `Path`, `Size`, an enumeration, `X | None`, `tuple[X, ...]` or
            `dict[str, X]` of these.
        node: of `compose`.
        place: where it stands.

    Raises:
        InvalidArgument: it describes none, and why.
    """
    return typing.cast(T, _decode(kind, node, place))


def mapping(node: yaml.Node, place: Place) -> dict[str, tuple[yaml.Node, Place]]:
    """The entries of a mapping, with the place of each value; what it is called in the file is its key."""
    if not isinstance(node, yaml.MappingNode):
        raise place.error(f"this has to be a mapping, not {_describe(node)}")
    entries: dict[str, tuple[yaml.Node, Place]] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if not name:
            raise place.at(key, "?").error("a key has to be a word")
        if name in entries:
            raise place.at(key, name).error("this key stands here for the second time")
        entries[name] = (value, place.at(value, name))
    return entries


def unknown_key(place: Place, name: str, known: typing.Iterable[str]) -> InvalidArgument:
    """The error for a key that means nothing, with the known one that looks most like it."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return place.error("there is no such setting", hint=f"did you mean {near[0]}?" if near else "")


def _decode(kind: Any, node: yaml.Node, place: Place) -> Any:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return _optional(kind, node, place)
    if origin is tuple:
        return _sequence(typing.get_args(kind)[0], node, place)
    if origin is dict:
        return {name: _decode(typing.get_args(kind)[1], *entry) for name, entry in mapping(node, place).items()}
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast(type, kind), node, place)
    return _scalar(kind, node, place)


def _optional(kind: Any, node: yaml.Node, place: Place) -> Any:
    if node.tag == f"{_TAG}null":
        return None
    [inner] = [choice for choice in typing.get_args(kind) if choice is not types.NoneType]
    return _decode(inner, node, place)


def _sequence(kind: Any, node: yaml.Node, place: Place) -> tuple[Any, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise place.error(f"this has to be a list, not {_describe(node)}")
    return tuple(_decode(kind, item, place.at(item, f"[{index}]")) for index, item in enumerate(node.value))


def _dataclass(kind: type, node: yaml.Node, place: Place) -> Any:
    hints = typing.get_type_hints(kind)
    values = {}
    for name, (value, where) in mapping(node, place).items():
        if name not in hints:
            raise unknown_key(where, name, hints)
        values[name] = _decode(hints[name], value, where)
    missing = [field.name for field in dataclasses.fields(kind) if _is_required(field) and field.name not in values]
    if missing:
        raise place.error(f"{missing[0]} is missing")
    return kind(**values)


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _scalar(kind: Any, node: yaml.Node, place: Place) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise place.error(f"this has to be {_NAMES.get(kind, 'a word')}, not {_describe(node)}")
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _choice(kind, str(node.value), place)
    try:
        return _SCALARS[kind](node)
    except ValueError:
        raise place.error(f"this has to be {_NAMES[kind]}, not {_describe(node)}") from None


def _choice(kind: type[enum.Enum], text: str, place: Place) -> enum.Enum:
    try:
        return kind(text)
    except ValueError:
        choices = ", ".join(str(choice.value) for choice in kind)
        raise place.error(f"{text!r} is none of: {choices}") from None


def _bool(node: yaml.ScalarNode) -> bool:
    if node.tag != f"{_TAG}bool":
        raise ValueError
    return bool(node.value.lower() in ("true", "yes", "on"))


def _int(node: yaml.ScalarNode) -> int:
    if node.tag != f"{_TAG}int":
        raise ValueError
    return int(node.value)


def _float(node: yaml.ScalarNode) -> float:
    if node.tag not in (f"{_TAG}int", f"{_TAG}float"):
        raise ValueError
    return float(node.value)


def _str(node: yaml.ScalarNode) -> str:
    if node.tag not in (f"{_TAG}str", f"{_TAG}int", f"{_TAG}float"):
        raise ValueError
    return str(node.value)


_SCALARS: dict[Any, Callable[[yaml.ScalarNode], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Path: lambda node: Path(_str(node)),
    Size: lambda node: Quantity.parse(_str(node)).whole(),
}

_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    Size: "a size in bytes, such as 256Mi",
}


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else repr(node.value)
