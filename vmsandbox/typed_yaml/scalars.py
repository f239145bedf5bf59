"""The meaning of plain YAML scalars in Kubernetes, which differs a little from pyyaml's.

As to kubectl (YAML 1.1), `yes` is a boolean and 0644 is octal; but there are no sexagesimal integers and no timestamps,
which Kubernetes takes for strings.
"""

import re

import yaml

from vmsandbox.typed_yaml.tree import Scalar

_TRUE = ("yes", "true", "on")
_BOOL = (*_TRUE, "no", "false", "off")
PREFIX = "tag:yaml.org,2002:"


class Loader(yaml.SafeLoader):
    """pyyaml's safe loader with the scalars of Kubernetes."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - pyyaml's own, given below


def _resolve(kind: str, pattern: str, first: str) -> None:
    Loader.add_implicit_resolver(PREFIX + kind, re.compile(rf"(?:{pattern})$"), list(first))


_resolve("bool", "|".join(f"{w}|{w.capitalize()}|{w.upper()}" for w in _BOOL), "yYnNtTfFoO")
_resolve("int", r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)", "-+0123456789")
_resolve("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789")
_resolve("null", r"~|null|Null|NULL", "~nN")
Loader.add_implicit_resolver(PREFIX + "null", re.compile(r"$"), [""])
_resolve("merge", "<<", "<")


def scalar_of(node: yaml.ScalarNode) -> Scalar:
    """The value of a scalar that `Loader` has read.

    Raises:
        ValueError: its tag means nothing here, or its text is not what the tag says; the message ends a sentence.
    """
    text: str = node.value
    match node.tag.removeprefix(PREFIX):
        case "str":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() in _TRUE
        case "int":
            return _integer(text)
        case "float":
            return _float(text)
    raise ValueError(f"the tag {node.tag} has no meaning here")


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    if re.fullmatch(r"[-+]?0[0-7]+", digits):
        digits = digits.replace("0", "0o", 1)
    try:
        return int(digits, 0)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is not an integer") from None


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is not a number") from None
