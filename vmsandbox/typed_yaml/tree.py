"""YAML text as a tree whose every value knows its file, line and field: what errors about a file point at."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vmsandbox.errors import InvalidArgument

Scalar = str | int | float | bool | None

MOST_BYTES = 4 * 1024 * 1024
"""Characters of one file; a Kubernetes object has at most 1.5 MiB."""


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
        """The error that says what is wrong here: `pod.yaml:17: spec.containers[0].image: ...`; `field` is the path."""
        place = (f"{self.source}:{self.line}", self.path) if self.line else (self.source,)
        return InvalidArgument(": ".join(filter(None, (*place, message))), hint=hint, field=self.path)

    def of(self, key: str) -> "YamlNode":
        """The value of a key; where it is absent, an empty value that stands where this one does."""
        if isinstance(self.value, dict) and key in self.value:
            return self.value[key]
        return YamlNode(None, "", self.source, self.line, join(self.path, key))


NOWHERE = YamlNode(None, "", "", 0, "")
"""For values that no file holds."""


def from_values(value: Any, source_of: Callable[[str], str], path: str = "") -> YamlNode:
    """The tree of plain values: mappings with texts as keys, lists, and what YAML's scalars are.

    Args:
        value: the document.
        source_of: where a value comes from, by its path, e.g. the option for `spec.hostname`; for errors.
        path: of the value in the whole document.
    """
    source = source_of(path)
    if isinstance(value, dict):
        of_keys = {key: from_values(item, source_of, join(path, key)) for key, item in value.items()}
        return YamlNode(of_keys, "", source, 0, path)
    if isinstance(value, list):
        items = (from_values(item, source_of, f"{path}[{i}]") for i, item in enumerate(value))
        return YamlNode(tuple(items), "", source, 0, path)
    return YamlNode(value, "" if value is None else str(value), source, 0, path)


def join(path: str, key: str) -> str:
    """The name of a field below another: `spec.containers`, `data['a.b']`."""
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", key)
    return f"{path}[{key!r}]" if not plain else f"{path}.{key}" if path else key
