"""The values of a tree in Python's types. A value of another type than is expected is an error, which says where."""

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any, NewType

from vmsandbox.quantity import Quantity
from vmsandbox.typed_yaml.tree import YamlNode

Size = NewType("Size", int)
"""Bytes, written as a number or as a Kubernetes quantity: 256Mi."""


def mapping(node: YamlNode) -> dict[str, YamlNode]:
    """Return the nodes of a mapping, by their keys; null is an empty one. Raises InvalidArgument, as all here."""
    if node.value is None:
        return {}
    if not isinstance(node.value, dict):
        raise node.error(f"expected a mapping, not {described(node)}")
    return node.value


def sequence(node: YamlNode) -> tuple[YamlNode, ...]:
    """Return the nodes of a list; null is an empty one."""
    if node.value is None:
        return ()
    if not isinstance(node.value, tuple):
        raise node.error(f"expected a list, not {described(node)}")
    return node.value


def string(node: YamlNode) -> str:
    """Return a string; null is an empty one."""
    if node.value is None:
        return ""
    if not isinstance(node.value, str):
        quote = not isinstance(node.value, (dict, tuple))
        raise node.error(f"expected a string, not {described(node)}", hint=f'"{node.text}"' if quote else "")
    return utf8(node, node.value)


def utf8(node: YamlNode, text: str) -> str:
    """Return the text. Refuse halves of characters: what `"\\uD800"` makes, bytes of an argument that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise node.error("it is not text in UTF-8") from None
    return text


def _integer(node: YamlNode) -> int:
    if type(node.value) is not int:
        raise node.error(f"expected an integer, not {described(node)}")
    if abs(node.value) >= 2**63:
        raise node.error("the number is too large")
    return node.value


def _number(node: YamlNode) -> float:
    if type(node.value) not in (int, float):
        raise node.error(f"expected a number, not {described(node)}")
    return float(node.text.replace("_", "")) if type(node.value) is float else float(_integer(node))


def _boolean(node: YamlNode) -> bool:
    if type(node.value) is not bool:
        raise node.error(f"expected true or false, not {described(node)}")
    return node.value


def _bytes(node: YamlNode) -> bytes:
    try:
        return base64.b64decode("".join(string(node).split()), validate=True)
    except (binascii.Error, ValueError):
        raise node.error("this is not base64") from None


def _quantity(node: YamlNode) -> Quantity:
    if isinstance(node.value, (dict, tuple, bool)):
        raise node.error(f"expected a quantity, not {described(node)}")
    try:
        return Quantity.parse(node.text)
    except ValueError as error:
        raise node.error(str(error)) from None


def _size(node: YamlNode) -> int:
    size = _quantity(node).whole
    if size < 0:
        raise node.error("a size is not negative")
    return size


SCALARS: dict[Any, Callable[[YamlNode], Any]] = {
    str: string,
    int: _integer,
    float: _number,
    bool: _boolean,
    bytes: _bytes,
    Path: lambda node: Path(string(node)),
    Quantity: _quantity,
    Size: _size,
}

NAMES = {str: "a string", int: "an integer", bool: "a boolean", float: "a number", dict: "a mapping", tuple: "a list"}


def described(node: YamlNode) -> str:
    """Return what a node has, for a message."""
    if isinstance(node.value, (dict, tuple)):
        return NAMES[type(node.value)]
    return "nothing" if node.value is None else f"{NAMES[type(node.value)]} ({node.text[:80]})"
