"""YAML text read into the tree. pyyaml takes long to import, so that who has no text to read does not import this.

Sizes are bounded: a file of aliases of aliases ends in an error, not in all the memory there is.
"""

from collections.abc import Iterator

import yaml

from vmsandbox.errors import InvalidArgument
from vmsandbox.typed_yaml.scalars import PREFIX, Loader, scalar_of
from vmsandbox.typed_yaml.tree import MOST_BYTES, Scalar, YamlNode, join

MOST_NODES = 100_000
"""Values in one file, with those that aliases repeat."""

MOST_DEPTH = 64


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
                raise YamlNode(None, "", self._source, line, join(place.path, name)).error("this key is given twice")
            seen.add(name)
            yield name, self.node(value, join(place.path, name), depth + 1)

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


def _line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _said(error: yaml.MarkedYAMLError) -> str:
    return ", ".join(filter(None, (error.context, error.problem)))
