"""Every setting is declared whole: its rule, what a reload does with it, and its line of the example."""

import dataclasses
import enum
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vmsandbox.config import Config, Effect, HandlerConfig, MachineConfig

EXAMPLE = Path(__file__).parents[3] / "examples" / "config.yaml"


def settings(kind: Any = Config, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each setting with its type and its field; those of a handler are not among them."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from settings(hints[field.name], f"{prefix}{field.name}.")
        elif field.name != "handlers" or prefix:
            yield prefix + field.name, hints[field.name], field


SETTINGS = {name: (hint, field) for name, hint, field in settings()}


def test_settings_of_all_sections_are_found() -> None:
    assert len(SETTINGS) > 45
    assert {"log_format", "network.default.subnet_v6", "delegate.handlers"} <= SETTINGS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_says_what_a_reload_does_with_it(name: str) -> None:
    assert isinstance(SETTINGS[name][1].metadata["effect"], Effect)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_a_rule_or_a_reason_why_it_needs_none(name: str) -> None:
    hint, field = SETTINGS[name]
    assert ("check" in field.metadata) != bool(field.metadata.get("free"))
    kinds = {hint, *typing.get_args(hint)}
    is_choice = any(isinstance(kind, type) and issubclass(kind, enum.Enum) for kind in kinds)
    assert is_choice == (field.metadata.get("free") == "an enumeration has no other values")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_default_breaks_no_rule(name: str) -> None:
    field = SETTINGS[name][1]
    if field.default is not None and (check := field.metadata.get("check")):
        for value in field.default if isinstance(field.default, tuple) else (field.default,):
            assert check(value) == ""


@pytest.mark.parametrize("name", [*SETTINGS, "handlers"])
def test_a_setting_is_in_the_example_with_its_default(name: str) -> None:
    shown: Any = yaml.safe_load(EXAMPLE.read_text())
    for key in name.split("."):
        assert key in shown
        shown = shown[key]


def test_a_handler_has_the_settings_of_a_machine_with_their_rules() -> None:
    machine = {field.name: dict(field.metadata) for field in dataclasses.fields(MachineConfig)}
    assert {field.name: dict(field.metadata) for field in dataclasses.fields(HandlerConfig)} == machine
