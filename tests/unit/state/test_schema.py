"""The schema on disk changes only in ways that other versions of vmsandbox accept, or with a migration.

The golden file holds every field that a record is stored with, those of the model's classes among them.
"""

from pathlib import Path

import pytest

from tests.support.schema import Schema, assert_pinned, changed, new_fields, read, schema_of
from vmsandbox.state.migrations import SCHEMA
from vmsandbox.state.stored_container import StoredContainer
from vmsandbox.state.stored_sandbox import StoredSandbox
from vmsandbox.state.waiting import WaitingRecord

GOLDEN = Path(__file__).parents[1] / f"golden/state/schema-{SCHEMA}.json"


def now() -> Schema:
    return {
        **schema_of("sandbox", StoredSandbox),
        **schema_of("container", StoredContainer),
        **schema_of("waiting", WaitingRecord),
    }


def faults(before: Schema, after: Schema) -> list[str]:
    """Yield the fields that a program with `after` would misread in records of one with `before`."""
    new = new_fields(before, after).items()
    return changed(before, after) + [f"{where} is new and has no default" for where, told in new if " = " not in told]


def test_nothing_on_disk_has_changed_without_a_migration() -> None:
    assert faults(read(GOLDEN), now()) == [], (
        "records on disk would be misread: write the step from this schema to the next in "
        "vmsandbox/state/migrations.py, and raise SCHEMA (docs/on-disk.md)"
    )
    assert_pinned(GOLDEN, now())


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
def test_a_field_that_is_added_with_a_default_is_not_one(where: str, told: str) -> None:
    assert faults(now(), with_change(where, told)) == []
