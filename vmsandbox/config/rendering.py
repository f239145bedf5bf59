"""A configuration as YAML or as JSON, both of which read back as itself."""

import dataclasses
import enum
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vmsandbox.config.rules import quantity
from vmsandbox.config.settings import Config
from vmsandbox.typed_yaml import Size

_PLAIN = re.compile(r"/?[A-Za-z][A-Za-z0-9_./-]*")
"""Texts that need no quotes, unless they are among `_NOT_TEXT`."""
_NOT_TEXT = re.compile(r"y|n|yes|no|true|false|on|off|null", re.IGNORECASE)
_HARMLESS = re.compile(r"[ !#-\[\]-~]")
"""Characters that stand for themselves in a quoted text."""


def as_document(config: Config) -> dict[str, Any]:
    """The settings for JSON: the keys of the file, sizes in bytes."""
    return {name: _plain(value) for name, value, _ in _settings(config)}


def as_yaml(config: Config) -> str:
    """All settings as a file; a comment beside each that differs from its default says the default."""
    return "".join(f"{line}\n" for line in _lines(config, Config(), ""))


def _settings(section: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, value and type of each field; a size has the type Size."""
    hints = typing.get_type_hints(type(section))
    for field in dataclasses.fields(section):
        hint = hints[field.name]
        yield field.name, getattr(section, field.name), Size if hint == Size | None else hint


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {name: _plain(each) for name, each, _ in _settings(value)}
    if isinstance(value, Mapping):
        return {
            key: {name: each for name, each in _plain(own).items() if each is not None} for key, own in value.items()
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return int(value) if value == int(value) else value  # As people write them: 60, not 60.0.
    return value.value if isinstance(value, enum.Enum) else str(value) if isinstance(value, Path) else value


def _lines(section: Any, default: Any, indent: str) -> Iterator[str]:
    for name, value, hint in _settings(section):
        usual = getattr(default, name)
        if dataclasses.is_dataclass(value):
            yield f"{indent}{name}:"
            yield from _lines(value, usual, f"{indent}  ")
            continue
        remark = "" if value == usual else f" # default: {_written(usual, hint)}"
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:{remark}"
            for key, own in value.items():
                yield from _handler(key, own, f"{indent}  ")
        else:
            yield f"{indent}{name}: {_written(value, hint)}{remark}"


def _handler(key: str, own: Any, indent: str) -> Iterator[str]:
    """A handler with what it sets; the rest is as in `machine`."""
    given = [f"{indent}  {name}: {_written(value, hint)}" for name, value, hint in _settings(own) if value is not None]
    yield f"{indent}{_text(key)}:" + ("" if given else " {}")
    yield from given


def _written(value: Any, hint: Any) -> str:
    """A value on one line of YAML."""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(_written(item, None) for item in value)}]"
    if dataclasses.is_dataclass(value):
        return f"{{{', '.join(f'{name}: {_written(each, kind)}' for name, each, kind in _settings(value))}}}"
    if hint is Size:
        return quantity(value)
    if isinstance(value, (int, float)):
        return repr(_plain(value))
    return _text(_plain(value)) if value != {} else "{}"


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and not _NOT_TEXT.fullmatch(text):
        return text
    return '"' + "".join(c if _HARMLESS.fullmatch(c) else f"\\U{ord(c):08x}" for c in text) + '"'
