"""Settings that hints and pages name: each is one that the configuration has."""

import ast
import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vmsandbox.config import Config

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("guest-image/*.md")])

FOREIGN = {
    "vhost_vsock", "cgroup_disable", "cgroup_no_v1",  # the kernel's
    "cpuset_cpus",  # of the CRI (LinuxContainerResources)
    "host_keys",  # of the laboratory's inventory
}  # fmt: skip
"""Words that look like settings in hints and pages, and are others' names."""


def _paths(kind: Any, prefix: str = "") -> Iterator[str]:
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        yield prefix + field.name
        kinds = [hints[field.name]]
        while kinds:
            inner = kinds.pop()
            kinds.extend(typing.get_args(inner))
            if dataclasses.is_dataclass(inner):
                yield from _paths(inner, f"{prefix}{field.name}.")


SETTINGS = set(_paths(Config))
NAMES = {path.rpartition(".")[2] for path in SETTINGS}
SECTIONS = {path.partition(".")[0] for path in SETTINGS if "." in path}

_KEY = re.compile(r"(?<![\w.])([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*): (?! |$)")
_DOTTED = re.compile(rf"(?<![\w./])((?:{'|'.join(sorted(SECTIONS))})(?:\.[a-z][a-z0-9_]*)+)(?![\w/(.])")
_SNAKE = re.compile(r"(?<![\w./-])([a-z]+(?:_[a-z0-9]+)+)(?![\w/(-])")


def unknown(text: str, *patterns: re.Pattern[str]) -> set[str]:
    """Return the words of a text that look like settings, without those that are known."""
    found = {match[1] for pattern in patterns for match in pattern.finditer(text)}
    return {name for name in found if not (name in SETTINGS or name in NAMES or name in FOREIGN or _is_module(name))}


def _is_module(name: str) -> bool:
    place = ROOT / "vmsandbox" / name.removesuffix(".py").replace(".", "/")
    return place.is_dir() or place.with_suffix(".py").is_file() or place.parent.with_suffix(".py").is_file()


def hints(source: Path) -> Iterator[str]:
    """The texts of `hint=...` in a module that speak of the configuration, without what is put into them."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "hint":
            constants = (part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant))
            text = "".join(part for part in constants if isinstance(part, str))
            if "config" in text or "set " in text or _DOTTED.search(text):
                yield text


HINTS = [(path, text) for path in sorted((ROOT / "vmsandbox").rglob("*.py")) for text in hints(path)]


@pytest.mark.parametrize(("path", "text"), HINTS, ids=lambda value: value.stem if isinstance(value, Path) else "")
def test_a_hint_names_settings_that_there_are(path: Path, text: str) -> None:
    code = " ".join(re.findall(r"`([^`]*)`", text))
    assert not unknown(text, _SNAKE, _DOTTED) | unknown(code, _KEY)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_settings_that_there_are(page: Path) -> None:
    text = re.sub(r"^(```|    ).*$", "", page.read_text(), flags=re.MULTILINE)
    code = re.findall(r"`([^`\n]*)`", text)
    found = {name for piece in code for name in unknown(piece, re.compile(rf"^{_KEY.pattern}"), _DOTTED)}
    assert not {name for name in found if "_" in name or "." in name}, "a single word may be a field of Kubernetes"


def test_a_setting_that_is_not_there_is_found() -> None:
    assert len(HINTS) > 10
    assert unknown("set `transport: vhost-device-vsock` in config.yaml", _KEY) == {"transport"}
    assert unknown("raise limits.memroy, or state_directory", _DOTTED, _SNAKE) == {"limits.memroy"}
