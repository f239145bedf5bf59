"""What is on disk changes only in ways that other versions of vmsandbox can live with, or with a migration.

The golden file holds every field of every class that a record is stored with, those of the model among them.
"""

import dataclasses
import enum
import json
import os
import types
import typing
from pathlib import Path
from typing import Any

import pytest

from vmsandbox.protocol.codec import encode, hints
from vmsandbox.state.migrations import SCHEMA
from vmsandbox.state.stored import StoredContainer, StoredSandbox

GOLDEN = Path(__file__).parents[1] / f"golden/state/schema-{SCHEMA}.json"

Schema = dict[str, str]
"""By the place in a record: the type and the default of each field, and each value of an enumeration."""


def schema_of(where: str, hint: Any, default: str = "") -> Schema:
    """What is at one place, and below it. The names of classes do not matter: they are not on disk."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        bounds = ", ".join(map(str, arguments[1:]))
        return schema_of(where, arguments[0], f" within {bounds}{default}")
    if origin in (typing.Union, types.UnionType):
        return schema_of(where, next(each for each in arguments if each is not type(None)), f" or null{default}")
    if origin is tuple:
        return {where: f"list{default}", **schema_of(f"{where}[]", arguments[0])}
    if origin is dict:
        return {where: f"dict of {arguments[0].__name__}{default}", **schema_of(f"{where}{{}}", arguments[1])}
    if issubclass(hint, enum.Enum):
        return {where: f"enumeration{default}", **{f"{where}={each.value}": "a value" for each in hint}}
    if dataclasses.is_dataclass(hint):
        inner = (_field(where, hints(typing.cast(type, hint))[field.name], field) for field in dataclasses.fields(hint))
        return {where: f"object{default}", **{place: told for each in inner for place, told in each.items()}}
    return {where: f"{hint.__name__}{default}"}


def _field(where: str, hint: Any, field: "dataclasses.Field[Any]") -> Schema:
    if field.default is not dataclasses.MISSING:
        default = f" = {json.dumps(encode(field.default))}"
    else:
        default = "" if field.default_factory is dataclasses.MISSING else " = new"
    return schema_of(f"{where}.{field.name}", hint, default)


def now() -> Schema:
    return {**schema_of("sandbox", StoredSandbox), **schema_of("container", StoredContainer)}


def faults(before: Schema, after: Schema) -> list[str]:
    """What a program that has `after` would misread in records that one with `before` has written."""
    changed = [
        f"{where} was {told!r}, and is {after.get(where)!r}"
        for where, told in before.items()
        if after.get(where) != told
    ]
    return changed + [
        f"{where} is new and has no default"
        for where, told in after.items()
        if where not in before and where.rpartition(".")[0] in before  # else its object is new, too
        if told != "a value" and not where.endswith(("[]", "{}")) and " = " not in told
    ]


def test_nothing_on_disk_has_changed_without_a_migration() -> None:
    before, after = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}, now()
    assert faults(before, after) == [], (
        "records on disk would be misread: write the step from this schema to the next in "
        "vmsandbox/state/migrations.py, and raise SCHEMA (docs/on-disk.md)"
    )
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(after, indent=1) + "\n")
        before = after
    assert after == before, f"what was added has to be kept from now on: UPDATE_GOLDEN=1 writes it to {GOLDEN}"


def with_change(where: str, told: str | None) -> Schema:
    return {place: text for place, text in {**now(), where: told}.items() if text is not None}


@pytest.mark.parametrize(
    ("where", "told", "fault"),
    [
        ("container.config.mounts[].readonly", None, "was 'bool = false', and is None"),
        ("container.config.mounts[].readonly", "bool = true", "was 'bool = false', and is 'bool = true'"),
        ("sandbox.boots", "str = 1", "was 'int = 1', and is 'str = 1'"),
        ("sandbox.template", "str", "is new and has no default"),
        ("sandbox.config.namespaces.pid=target", None, "was 'a value', and is None"),
    ],
)
def test_a_change_that_makes_records_unreadable_is_a_fault(where: str, told: str | None, fault: str) -> None:
    assert faults(now(), with_change(where, told)) == [f"{where} {fault}"]


@pytest.mark.parametrize(
    ("where", "told"),
    [("container.config.mounts[].shiny", "bool = false"), ("sandbox.config.namespaces.pid=cluster", "a value")],
)
def test_what_is_added_with_a_default_is_none(where: str, told: str) -> None:
    assert faults(now(), with_change(where, told)) == []
