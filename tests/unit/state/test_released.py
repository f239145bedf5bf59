"""The records of every released version are read by this one (`tests/released`)."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.released import RECORDS, records
from vmsandbox.protocol.codec import encode
from vmsandbox.state import ContainerRecord, SandboxRecord, State
from vmsandbox.state.stored_container import stored_container
from vmsandbox.state.stored_sandbox import stored_sandbox

KINDS: dict[str, tuple[type, Callable[[Any], object]]] = {
    "SandboxRecord": (SandboxRecord, stored_sandbox),
    "sandbox": (SandboxRecord, stored_sandbox),
    "ContainerRecord": (ContainerRecord, stored_container),
    "container": (ContainerRecord, stored_container),
}

NOT_READ = {"SandboxRecord.vsock", "SandboxRecord.acknowledged"}
"""Fields before 82f11ae: the vsock device is found by the sandbox's id now, and the agent tells its events again."""


def found(path: Path, schema: int, kind: str, body: dict[str, Any]) -> object:
    """Return the records that State reads from a database with that one record."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE record (kind TEXT, id TEXT, body TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID")
        database.execute("INSERT INTO record VALUES (?, ?, ?)", (kind, body["id"], json.dumps(body)))
        database.execute(f"PRAGMA user_version={schema}")
    live, store = KINDS[kind]
    with State(path) as state:
        assert state.damaged(live) == {}
        (record,) = state.all(live)
    return encode(store(record))


def leaves(where: str, value: object) -> Iterator[tuple[str, object]]:
    """Everything that a body says, by its place."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(f"{where}.{name}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(f"{where}[{number}]", inner)
    else:
        yield where, value


@pytest.mark.parametrize("form", ["full", "least"])
@pytest.mark.parametrize("kind", ["sandbox", "container"])
@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_of_a_released_version_is_read(path: Path, kind: str, form: str, tmp_path: Path) -> None:
    kept = records(path)
    (name,) = (each for each in kept if each in KINDS and KINDS[each][0] is KINDS[kind][0])
    told = dict(leaves(name, found(tmp_path / "state.db", kept["schema"], name, kept[name][form])))
    for where, value in leaves(name, kept[name][form]):
        if not any(where.startswith(each) for each in NOT_READ):
            assert told.get(where, "at its default") == value or _is_default(where, value), where


def _is_default(where: str, value: object) -> bool:
    """The last member of an enumeration, which `full` has, may be what a field is without being set."""
    return where.endswith(".supplemental_groups_policy") and value == "strict"


def test_all_kinds_of_the_last_release_are_kept() -> None:
    assert {"records-bce56b4", "records-82f11ae", "records-d6df41e"} <= {path.stem for path in RECORDS}
