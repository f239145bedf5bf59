"""From the tree of a YAML file to dataclasses, strictly.

A plain dataclass has the keys of its fields. One of `Located` stands for a type of Kubernetes: its keys are in
camelCase, and besides the fields that are honoured it may declare two tables: `REFUSED` names fields of the Kubernetes
type that are not honoured, each with the reason, `IGNORED` those that mean nothing here. Any other key is unknown, and
an error.
"""

import contextlib
import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from vmsandbox.errors import InvalidArgument
from vmsandbox.quantity import Quantity
from vmsandbox.typed_yaml import values
from vmsandbox.typed_yaml.tree import NOWHERE, YamlNode

T = TypeVar("T")

Check = Callable[[Any], str]
"""A rule of a field's value: what is wrong with it, as the end of a sentence; empty: nothing is."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Base of what a manifest of Kubernetes holds: it knows where it stands."""

    REFUSED: ClassVar[Mapping[str, str]] = types.MappingProxyType({})
    IGNORED: ClassVar[frozenset[str]] = frozenset()

    at: YamlNode = dataclasses.field(default=NOWHERE, compare=False, repr=False)


def decode(kind: type[T], node: YamlNode) -> T:
    """The `kind` that the tree describes.

    Raises:
        InvalidArgument: a value has the wrong type, a field is missing, unknown or refused; it says where. The first
            mistake of the tree; `decode_all` has them all.
    """
    decoded, mistakes = decode_all(kind, node)
    if mistakes:
        raise mistakes[0]
    assert decoded is not None
    return decoded


def decode_all(kind: type[T], node: YamlNode) -> tuple[T | None, list[InvalidArgument]]:
    """The `kind` that the tree describes, and all mistakes of the tree, in the order in which they stand there.

    A field with a mistake has its default, and an item with one is left out. None: a field that is required has no
    value, or the tree is not a mapping.

    A field's metadata may hold a rule of what its values may be: `check` is called with the value (not with null), and
    returns what is wrong with it, or an empty text. For a tuple it is called with each item.
    """
    mistakes: list[InvalidArgument] = []
    try:
        return typing.cast(T, _Decoder(mistakes.append).value(kind, node)), mistakes
    except InvalidArgument as error:
        return None, [*mistakes, error]
    except _Told:
        return None, mistakes


class _Told(Exception):
    """A value cannot be made, and the mistakes say why."""


def _camel_case(field: dataclasses.Field[Any]) -> str:
    """The name that a field has in a manifest: its own in camelCase, or what its metadata says."""
    first, *rest = field.name.split("_")
    return str(field.metadata.get("key") or first + "".join(word.capitalize() for word in rest))


@functools.cache
def fields_of(kind: Any) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """The fields of a dataclass and their types, by the keys that they have in a file."""
    hints = typing.get_type_hints(kind)
    fields = (field for field in dataclasses.fields(kind) if field.name != "at")
    located = issubclass(kind, Located)
    return {_camel_case(field) if located else field.name: (field, hints[field.name]) for field in fields}


class _Decoder:
    """Decodes one tree, and goes on after a mistake."""

    def __init__(self, tell: Callable[[InvalidArgument], None]) -> None:
        self._tell = tell

    def value(self, kind: Any, node: YamlNode, check: Check | None = None) -> Any:
        """Raises InvalidArgument or _Told where there is no value."""
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return self._union(tuple(arg for arg in args if arg is not type(None)), node, check)
        if origin is tuple:
            return tuple(self._items(enumerate(values.sequence(node)), args[0], check).values())
        if origin is dict:
            return self._items(values.mapping(node).items(), args[1], check)
        if dataclasses.is_dataclass(kind) and kind is not Quantity:
            return self._dataclass(kind, node)
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return _decode_enum(kind, node)
        value = values.SCALARS[kind](node)
        if check is not None and (wrong := check(value)):
            raise node.error(wrong)
        return value

    def _items(self, items: Iterable[tuple[Any, YamlNode]], kind: Any, check: Check | None) -> dict[Any, Any]:
        found = {}
        for key, node in items:
            with self._telling():
                found[values.utf8(node, key) if isinstance(key, str) else key] = self.value(kind, node, check)
        return found

    def _dataclass(self, kind: Any, node: YamlNode) -> Any:
        fields, given, found = fields_of(kind), values.mapping(node), {}
        for key, value in given.items():
            with self._telling():
                if key not in fields:
                    _check_ignored(kind, key, value)
                elif value.value is not None:
                    field, hint = fields[key]
                    found[field.name] = self.value(hint, value, field.metadata.get("check"))
        required = [key for key, (field, _) in fields.items() if _is_required(field) and field.name not in found]
        for key in required:
            if node.of(key).value is None:
                self._tell(node.of(key).error("this field is required"))
        if required:
            raise _Told
        return kind(at=node, **found) if issubclass(kind, Located) else kind(**found)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Go on after a mistake."""
        try:
            yield
        except InvalidArgument as error:
            self._tell(error)
        except _Told:
            pass

    def _union(self, kinds: tuple[Any, ...], node: YamlNode, check: Check | None) -> Any:
        """`X | None`, and Kubernetes' IntOrString."""
        if len(kinds) == 1:
            return self.value(kinds[0], node, check)
        for kind in kinds:
            if type(node.value) is kind:
                return node.value
        raise node.error(f"expected {' or '.join(values.NAMES[kind] for kind in kinds)}, not {values.described(node)}")


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def _check_ignored(kind: Any, key: str, value: YamlNode) -> None:
    refused, ignored = (kind.REFUSED, kind.IGNORED) if issubclass(kind, Located) else ({}, ())
    if key in ignored or (key in refused and value.value in (None, (), {})):
        return
    if key in refused:
        raise value.error(f"this field is not supported: {refused[key]}")
    import difflib  # only here: it takes a while

    near = difflib.get_close_matches(key, [*fields_of(kind), *refused, *ignored], n=1)
    raise value.error("there is no such field", hint=f"did you mean {near[0]}?" if near else "")


def _decode_enum(kind: type[enum.Enum], node: YamlNode) -> enum.Enum:
    text = values.string(node)
    try:
        return kind(text)
    except ValueError:
        choices = ", ".join(repr(member.value) for member in kind)
        raise node.error(f"{text[:80]!r} is not one of {choices}") from None
