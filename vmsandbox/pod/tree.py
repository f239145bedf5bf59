"""YAML text as a tree whose every value knows its file, line and field: what errors about a manifest point at.

Plain scalars mean what they mean to Kubernetes (YAML 1.1 as kubectl reads it: `yes` is a boolean, 0644 is octal), but
without pyyaml's sexagesimal integers and timestamps, which Kubernetes takes for strings. Sizes are bounded: a file
of aliases of aliases ends in an error, not in all the memory there is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from vmsandbox.errors import InvalidArgument

MOST_BYTES = 4 * 1024 * 1024
"""Bytes of one file; a Kubernetes object has at most 1.5 MiB."""

MOST_NODES = 100_000
"""Values in one file, with those that aliases repeat."""

MOST_DEPTH = 64

Scalar = str | int | float | bool | None

_TRUE = ("y", "yes", "true", "on")
_BOOL = (*_TRUE, "n", "no", "false", "off")
_PREFIX = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value, and where it stands."""

    value: "Scalar | tuple[Node, ...] | dict[str, Node]"
    text: str
    """Of a scalar, as it is written: `0.10` is not 0.1."""
    source: str
    line: int
    path: str

    def error(self, message: str, hint: str = "") -> InvalidArgument:
        """The error that says what is wrong here: `pod.yaml:17: spec.containers[0].image: ...`."""
        place = f"{self.source}:{self.line}"
        return InvalidArgument(": ".join(filter(None, (place, self.path, message))), hint=hint)

    def of(self, key: str) -> "Node":
        """The value of a key; where it is absent, an empty value that stands where this one does."""
        if isinstance(self.value, dict) and key in self.value:
            return self.value[key]
        return Node(None, "", self.source, self.line, _join(self.path, key))


NOWHERE = Node(None, "", "", 0, "")
"""For values that no file holds."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - pyyaml's own, given below


def _resolve(kind: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(_PREFIX + kind, re.compile(rf"(?:{pattern})$"), list(first))


_resolve("bool", "|".join(f"{w}|{w.capitalize()}|{w.upper()}" for w in _BOOL), "yYnNtTfFoO")
_resolve("int", r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)", "-+0123456789")
_resolve("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789")
_resolve("null", r"~|null|Null|NULL", "~nN")
_Loader.add_implicit_resolver(_PREFIX + "null", re.compile(r"$"), [""])
_resolve("merge", "<<", "<")


def read(text: str, source: str) -> tuple[Node, ...]:
    """The documents of a file; those that are empty are left out.

    Args:
        text: its content.
        source: its name, for errors.

    Raises:
        InvalidArgument: it is no YAML, names a key twice, or is too large.
    """
    if len(text) > MOST_BYTES:
        raise InvalidArgument(f"{source}: it is larger than {MOST_BYTES >> 20} MiB")
    grow = _Grower(source)
    try:
        roots = [root for root in yaml.compose_all(text, _Loader) if root is not None]
        documents = [grow.node(root, "", 0) for root in roots]
    except yaml.MarkedYAMLError as error:
        raise InvalidArgument(f"{source}:{_line(error)}: {_said(error)}") from None
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{source}: it is no YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise InvalidArgument(f"{source}: it is nested too deeply") from None
    return tuple(document for document in documents if document.value is not None)


class _Grower:
    """Makes the tree of one file, and counts what it makes."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._made = 0

    def node(self, given: yaml.Node, path: str, depth: int) -> Node:
        place = Node(None, "", self._source, given.start_mark.line + 1, path)
        self._made += 1
        if self._made > MOST_NODES:
            raise place.error(f"the file has more than {MOST_NODES} values, aliases counted")
        if depth > MOST_DEPTH:
            raise place.error(f"it is nested more than {MOST_DEPTH} deep")
        if isinstance(given, yaml.MappingNode):
            return self._made_of(place, dict(self._pairs(given, place, depth)))
        if isinstance(given, yaml.SequenceNode):
            items = (self.node(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(given.value))
            return self._made_of(place, tuple(items))
        return self._made_of(place, _scalar(given, place), given.value)

    def _made_of(self, place: Node, value: "Scalar | tuple[Node, ...] | dict[str, Node]", text: str = "") -> Node:
        return Node(value, text, place.source, place.line, place.path)

    def _pairs(self, mapping: yaml.MappingNode, place: Node, depth: int) -> Iterator[tuple[str, Node]]:
        """Keys and values; what `<<` merges comes first, so that the mapping's own keys win."""
        own = [(key, value) for key, value in mapping.value if key.tag != f"{_PREFIX}merge"]
        for key, value in mapping.value:
            if key.tag == f"{_PREFIX}merge":
                yield from self._merged(value, place, depth)
        seen: set[str] = set()
        for key, value in own:
            name = _key(key, Node(None, "", self._source, key.start_mark.line + 1, place.path))
            if name in seen:
                line = key.start_mark.line + 1
                raise Node(None, "", self._source, line, _join(place.path, name)).error("this key is given twice")
            seen.add(name)
            yield name, self.node(value, _join(place.path, name), depth + 1)

    def _merged(self, value: yaml.Node, place: Node, depth: int) -> Iterator[tuple[str, Node]]:
        for mapping in reversed(value.value) if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(mapping, yaml.MappingNode):
                raise place.error("`<<` merges mappings only")
            if depth > MOST_DEPTH:
                raise place.error(f"it is nested more than {MOST_DEPTH} deep")
            yield from self._pairs(mapping, place, depth + 1)


def _key(key: yaml.Node, place: Node) -> str:
    if not isinstance(key, yaml.ScalarNode) or key.tag not in (_PREFIX + "str", _PREFIX + "int", _PREFIX + "float"):
        raise place.error("a key is a string; quote it")
    return str(key.value)


def _scalar(node: yaml.Node, place: Node) -> Scalar:
    text: str = node.value
    match node.tag.removeprefix(_PREFIX):
        case "str":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() in _TRUE
        case "int":
            return _integer(text, place)
        case "float":
            return _float(text, place)
    raise place.error(f"the tag {node.tag} has no meaning here")


def _integer(text: str, place: Node) -> int:
    digits = text.replace("_", "").lower()
    if re.fullmatch(r"[-+]?0[0-7]+", digits):
        digits = digits.replace("0", "0o", 1)
    try:
        return int(digits, 0)
    except ValueError:
        raise place.error(f"{text[:80]!r} is no integer") from None


def _float(text: str, place: Node) -> float:
    try:
        return float(text)
    except ValueError:
        raise place.error(f"{text[:80]!r} is no number") from None


def _join(path: str, key: str) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", key)
    return f"{path}[{key!r}]" if not plain else f"{path}.{key}" if path else key


def _line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _said(error: yaml.MarkedYAMLError) -> str:
    return ", ".join(filter(None, (error.context, error.problem)))
