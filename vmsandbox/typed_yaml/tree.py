"""YAML text as a tree whose every value knows its file, line and field: what errors about a file point at.

Sizes are bounded: a file of aliases of aliases ends in an error, not in all the memory there is.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from vmsandbox.errors import InvalidArgument
from vmsandbox.typed_yaml.scalars import PREFIX, Loader, Scalar, scalar_of

MOST_BYTES = 4 * 1024 * 1024
"""Characters of one file; a Kubernetes object has at most 1.5 MiB."""

MOST_NODES = 100_000
"""Values in one file, with those that aliases repeat."""

MOST_DEPTH = 64


@dataclass(frozen=True, slots=True, eq=False)
class YamlNode:
    """A value, and where it stands."""

    value: "Scalar | tuple[YamlNode, ...] | dict[str, YamlNode]"
    text: str
    """The text of a scalar, as it is written: `0.10` is not 0.1."""
    source: str
    line: int
    """From 1; 0: no text holds the value, and its source alone says where it comes from."""
    path: str

    def error(self, message: str, hint: str = "") -> InvalidArgument:
        """The error that says what is wrong here: `pod.yaml:17: spec.containers[0].image: ...`."""
        place = (f"{self.source}:{self.line}", self.path) if self.line else (self.source,)
        return InvalidArgument(": ".join(filter(None, (*place, message))), hint=hint)

    def of(self, key: str) -> "YamlNode":
        """The value of a key; where it is absent, an empty value that stands where this one does."""
        if isinstance(self.value, dict) and key in self.value:
            return self.value[key]
        return YamlNode(None, "", self.source, self.line, _join(self.path, key))


NOWHERE = YamlNode(None, "", "", 0, "")
"""For values that no file holds."""


def read(text: str, source: str) -> tuple[YamlNode, ...]:
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
        roots = [root for root in yaml.compose_all(text, Loader) if root is not None]
        documents = [grow.node(root, "", 0) for root in roots]
    except yaml.MarkedYAMLError as error:
        raise InvalidArgument(f"{source}:{_line(error)}: {_said(error)}") from None
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{source}: it is not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise InvalidArgument(f"{source}: it is nested too deeply") from None
    return tuple(document for document in documents if document.value is not None)


def from_values(value: Any, source_of: Callable[[str], str], path: str = "") -> YamlNode:
    """The tree of plain values: mappings with texts as keys, lists, and what YAML's scalars are.

    Args:
        value: the document.
        source_of: where a value comes from, by its path, e.g. the option for `spec.hostname`; for errors.
        path: of the value in the whole document.
    """
    source = source_of(path)
    if isinstance(value, dict):
        of_keys = {key: from_values(item, source_of, _join(path, key)) for key, item in value.items()}
        return YamlNode(of_keys, "", source, 0, path)
    if isinstance(value, list):
        items = (from_values(item, source_of, f"{path}[{i}]") for i, item in enumerate(value))
        return YamlNode(tuple(items), "", source, 0, path)
    return YamlNode(value, "" if value is None else str(value), source, 0, path)


class _Grower:
    """Makes the tree of one file, and counts what it makes."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._made = 0

    def node(self, given: yaml.Node, path: str, depth: int) -> YamlNode:
        place = YamlNode(None, "", self._source, given.start_mark.line + 1, path)
        self._count(place, depth)
        if not isinstance(given, yaml.ScalarNode) and given.tag not in (f"{PREFIX}map", f"{PREFIX}seq"):
            raise place.error(f"the tag {given.tag} has no meaning here")
        if isinstance(given, yaml.MappingNode):
            return self._made_of(place, dict(self._pairs(given, place, depth)))
        if isinstance(given, yaml.SequenceNode):
            items = (self.node(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(given.value))
            return self._made_of(place, tuple(items))
        assert isinstance(given, yaml.ScalarNode)
        try:
            return self._made_of(place, scalar_of(given), given.value)
        except ValueError as error:
            raise place.error(str(error)) from None

    def _count(self, place: YamlNode, depth: int) -> None:
        self._made += 1
        if self._made > MOST_NODES:
            raise place.error(f"the file has more than {MOST_NODES} values, aliases counted")
        if depth > MOST_DEPTH:
            raise place.error(f"it is nested more than {MOST_DEPTH} deep")

    def _made_of(
        self, place: YamlNode, value: "Scalar | tuple[YamlNode, ...] | dict[str, YamlNode]", text: str = ""
    ) -> YamlNode:
        return YamlNode(value, text, place.source, place.line, place.path)

    def _pairs(self, mapping: yaml.MappingNode, place: YamlNode, depth: int) -> Iterator[tuple[str, YamlNode]]:
        """Keys and values; what `<<` merges comes first, so that the mapping's own keys win."""
        own = [(key, value) for key, value in mapping.value if key.tag != f"{PREFIX}merge"]
        for key, value in mapping.value:
            if key.tag == f"{PREFIX}merge":
                yield from self._merged(value, place, depth)
        seen: set[str] = set()
        for key, value in own:
            name = _key(key, YamlNode(None, "", self._source, key.start_mark.line + 1, place.path))
            if name in seen:
                line = key.start_mark.line + 1
                raise YamlNode(None, "", self._source, line, _join(place.path, name)).error("this key is given twice")
            seen.add(name)
            yield name, self.node(value, _join(place.path, name), depth + 1)

    def _merged(self, value: yaml.Node, place: YamlNode, depth: int) -> Iterator[tuple[str, YamlNode]]:
        for mapping in reversed(value.value) if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(mapping, yaml.MappingNode):
                raise place.error("`<<` merges mappings only")
            self._count(place, depth)
            yield from self._pairs(mapping, place, depth + 1)


def _key(key: yaml.Node, place: YamlNode) -> str:
    if not isinstance(key, yaml.ScalarNode) or key.tag not in (PREFIX + "str", PREFIX + "int", PREFIX + "float"):
        raise place.error("a key is a string; quote it")
    return str(key.value)


def _join(path: str, key: str) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", key)
    return f"{path}[{key!r}]" if not plain else f"{path}.{key}" if path else key


def _line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _said(error: yaml.MarkedYAMLError) -> str:
    return ", ".join(filter(None, (error.context, error.problem)))
