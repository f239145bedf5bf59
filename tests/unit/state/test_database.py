"""The database of records: what is put comes back, whoever wrote it, and what cannot be read costs no other."""

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.released import make_schema_1
from vmsandbox.cri.convert import sandbox_status_to_cri
from vmsandbox.errors import FailedPrecondition, ResourceExhausted
from vmsandbox.model import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ImageConfig,
    PodSandboxConfig,
    PodSandboxMetadata,
    SandboxState,
)
from vmsandbox.state import ContainerRecord, SandboxRecord, State, migrations
from vmsandbox.state.migrations import SCHEMA, copy_of

A, B, C = "a" * 32, "b" * 32, "c" * 32


def sandbox(key: str = A, name: str = "pod", **more: object) -> SandboxRecord:
    config = PodSandboxConfig(PodSandboxMetadata(name, f"uid-{name}", "default"), labels={"app": name})
    return replace(SandboxRecord(key, config, SandboxState.READY, 5, memory=100), **more)


def container(key: str = B, owner: str = A) -> ContainerRecord:
    config = ContainerConfig(ContainerMetadata("app"), "image", labels={"app": "yes"})
    running = ContainerState.RUNNING
    return ContainerRecord(key, owner, config, "id", "ref", ImageConfig(), 6, "/log", {"id": "s1"}, ("b1",), running)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def state(path: Path) -> Iterator[State]:
    with State(path) as state:
        yield state


def execute(path: Path, query: str, *parameters: object) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(query, parameters)


def body_of(path: Path, key: str) -> dict[str, object]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        (body,) = database.execute("SELECT body FROM record WHERE id = ?", (key,)).fetchone()
    return json.loads(body)


def change_body(path: Path, key: str, **changes: object) -> None:
    execute(path, "UPDATE record SET body = ? WHERE id = ?", json.dumps({**body_of(path, key), **changes}), key)


def test_a_record_comes_back_as_it_was_put(state):
    state.put(A, sandbox())
    state.put(B, container())
    assert (state.all(SandboxRecord), state.all(ContainerRecord)) == ((sandbox(),), (container(),))
    assert (state.damaged(SandboxRecord), state.damaged(ContainerRecord)) == ({}, {})


def test_putting_again_replaces(state):
    state.put(A, sandbox())
    state.put(A, sandbox(message="ended"))
    assert [record.message for record in state.all(SandboxRecord)] == ["ended"]


def test_deleting_what_is_not_there_succeeds(state):
    state.delete(SandboxRecord, A)
    assert state.all(SandboxRecord) == ()


def test_a_file_that_is_not_a_database_is_refused(path):
    path.write_bytes(b"not a database at all, but long enough" * 50)
    with pytest.raises(FailedPrecondition, match="not usable") as caught:
        State(path)
    assert "by hand" in caught.value.hint


def test_what_a_newer_version_added_to_a_record_is_passed_over(state, path):
    state.put(A, sandbox())
    body = body_of(path, A)
    body["config"]["metadata"]["cluster"] = {"deep": [1]}  # type: ignore[index]
    body["config"]["shiny"] = True  # type: ignore[index]
    change_body(path, A, config=body["config"], template="warm")
    execute(path, "INSERT INTO record VALUES ('lease', ?, '{}')", C)
    assert (state.all(SandboxRecord), state.damaged(SandboxRecord)) == ((sandbox(),), {})


def test_what_an_older_version_did_not_write_has_its_default(state, path):
    execute(path, "INSERT INTO record VALUES ('sandbox', ?, ?)", A, json.dumps({
        "id": A, "state": "ready", "created_at": 5,
        "config": {"metadata": {"name": "pod", "uid": "uid", "namespace": "default"}},
    }))  # fmt: skip
    (record,) = state.all(SandboxRecord)
    assert (record.boots, record.memory, record.secret, record.network) == (1, 0, "", None)


def test_a_container_in_a_state_that_only_a_newer_version_knows_is_asked_of_its_guest(state, path):
    state.put(B, container())
    change_body(path, B, state="paused")
    assert [record.state for record in state.all(ContainerRecord)] == [ContainerState.RUNNING]


def test_a_propagation_that_only_a_newer_version_knows_is_private(state, path):
    state.put(B, container())
    mounts = [{"container_path": "/data", "host_path": "/srv", "propagation": "sideways"}]
    change_body(path, B, config={"metadata": {"name": "app"}, "image": "image", "mounts": mounts})
    assert [mount.propagation.value for mount in state.all(ContainerRecord)[0].config.mounts] == ["rprivate"]


def test_a_rule_that_only_a_newer_version_knows_makes_the_record_unreadable_rather_than_laxer(state, path):
    state.put(B, container())
    security = {"supplemental_groups_policy": "strictest"}
    change_body(path, B, config={"metadata": {"name": "app"}, "image": "image", "security": security})
    assert state.all(ContainerRecord) == ()
    assert "strictest" in str(state.damaged(ContainerRecord)[B].error)


DAMAGED = {
    "another type": '{"id": 3}',
    "another sandbox's": json.dumps({"id": C, "config": {"metadata": {"name": "", "uid": "", "namespace": ""}}}),
    "no object": "[]",
    "no JSON": "{",
    "nothing": "",
    "deeply nested": "[" * 100_000,
    "no text": b"\xff\xfe",
}


UNTELLABLE = {
    "half of a character in a text": {"kernel": "\ud800"},
    "half of a character in a key that says nothing else": {"timings": {}, "config": {"labels": {"\ud800": {}}}},
    "a time that is no number": {"timings": {"agent": float("nan")}},
    "a number that is too large": {"timings": {"agent": float("inf")}},
    "an attempt below 0": {"config": {"metadata": {"name": "pod", "uid": "u", "namespace": "n", "attempt": -1}}},
    "an attempt of 33 bits": {"config": {"metadata": {"name": "pod", "uid": "u", "namespace": "n", "attempt": 2**32}}},
}


@pytest.mark.parametrize("name", UNTELLABLE)
def test_what_no_client_can_be_told_makes_its_record_unreadable(state, path, name):
    state.put(A, sandbox())
    change_body(path, A, **UNTELLABLE[name])
    found = state.damaged(SandboxRecord)[A]
    assert str(found.error).isprintable()
    sandbox_status_to_cri(found.salvaged.status())


def test_of_the_names_of_a_pod_each_that_can_be_read_is_kept(state, path):
    state.put(A, sandbox())
    change_body(path, A, config={"metadata": {"name": 3, "uid": "uid", "namespace": "ns", "attempt": -1}})
    salvaged = state.damaged(SandboxRecord)[A].salvaged
    assert salvaged is not None
    assert salvaged.config.metadata == PodSandboxMetadata("unreadable", "uid", "ns", 0)


@pytest.mark.parametrize("stored", ["?", "CAST(? AS TEXT)"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_record_that_cannot_be_read_costs_no_other_and_is_not_ready(state, path, name, stored):
    for key in (A, B, C):
        state.put(key, sandbox(key))
    execute(path, f"UPDATE record SET body = {stored} WHERE id = ?", DAMAGED[name], B)
    assert state.all(SandboxRecord) == (sandbox(A), sandbox(C))
    (found,) = state.damaged(SandboxRecord).values()
    assert f"sandbox {B} cannot be read" in str(found.error)
    assert found.salvaged is not None
    assert (found.salvaged.id, found.salvaged.state) == (B, SandboxState.NOTREADY)
    assert found.salvaged.config.metadata.uid == ("" if name == "another sandbox's" else B)
    assert found.salvaged.message == str(found.error)


@pytest.mark.parametrize("changes", [{"state": "hibernating"}, {"boots": "two"}, {"secret": "xyz"}, {"created_at": -1}])
def test_of_a_sandbox_whose_record_cannot_be_read_what_can_be_read_is_kept(state, path, changes):
    state.put(A, sandbox())
    change_body(path, A, **changes)
    found = state.damaged(SandboxRecord)[A].salvaged
    assert found is not None
    assert (found.config, found.memory, found.secret) == (sandbox().config, 100, "")
    assert found.created_at == (0 if "created_at" in changes else 5)


def test_of_a_container_whose_record_cannot_be_read_what_can_be_read_is_kept(state, path):
    state.put(B, container())
    change_body(path, B, exit_code="none")
    found = state.damaged(ContainerRecord)[B].salvaged
    assert found is not None
    assert (found.config, found.disks, found.blocks) == (container().config, {"id": "s1"}, ("b1",))
    assert (found.state, found.exit_code, found.reason) == (ContainerState.EXITED, 255, "RecordUnreadable")
    change_body(path, B, config=None)
    assert state.damaged(ContainerRecord)[B].salvaged is None


@pytest.mark.parametrize("key", ["../..", "", "A" * 32, b"\xff" * 32, b"a" * 32])
def test_a_record_whose_id_is_not_valid_is_passed_over_and_logged(state, path, key, caplog):
    state.put(B, sandbox(B))
    execute(path, "INSERT INTO record VALUES ('sandbox', ?, '{}')", key)
    with State(path) as again:
        assert (again.all(SandboxRecord), again.damaged(SandboxRecord)) == ((sandbox(B),), {})
    assert "is not an id" in caplog.text


def test_a_database_that_is_damaged_as_a_whole_is_refused_with_a_hint(path):
    with State(path) as state:
        state.put(A, sandbox())
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 4096)
    with pytest.raises(FailedPrecondition, match="not usable") as caught:
        State(path)
    assert caught.value.hint


def test_a_database_that_breaks_while_it_is_open_is_an_error_with_a_hint(path):
    with State(path) as state:
        state.put(A, sandbox())
        execute(path, "DROP TABLE record")
        with pytest.raises(FailedPrecondition, match="cannot be read") as caught:
            state.all(SandboxRecord)
    assert caught.value.hint


def test_a_database_that_takes_no_more_says_so_and_what_has_happened_is_only_logged(path, caplog):
    with State(path) as state:
        state._database.execute("PRAGMA max_page_count=4")
        with pytest.raises(ResourceExhausted, match=r"state\.db cannot be written"):
            state.put(A, sandbox(message="long" * 10_000))
        state.note(A, sandbox(message="long" * 10_000))
        assert state.all(SandboxRecord) == ()
    assert f"sandbox {A} is not recorded" in caplog.text


def test_a_database_of_a_newer_schema_is_refused_with_a_hint_and_left_alone(path):
    State(path).close()
    execute(path, f"PRAGMA user_version={SCHEMA + 1}")
    before = path.read_bytes()
    with pytest.raises(FailedPrecondition, match=f"schema {SCHEMA + 1}, and this version of vmsandbox reads") as caught:
        State(path)
    assert "newer version" in caught.value.hint
    assert path.read_bytes() == before


@pytest.fixture
def older(path: Path) -> Path:
    with State(path) as state:
        state.put(A, sandbox())
        state.put(B, container())
        state.put(C, sandbox(C, "damaged"))
    execute(path, "UPDATE record SET body = '{' WHERE id = ?", C)
    make_schema_1(path)
    return path


def test_an_older_database_is_migrated_after_a_copy(older):
    with State(older) as state:
        assert (state.all(SandboxRecord), state.all(ContainerRecord)) == ((sandbox(),), (container(),))
        assert list(state.damaged(SandboxRecord)) == [C]
    copy = copy_of(older, 1)
    assert (copy.name, stat.S_IMODE(copy.stat().st_mode)) == ("state.db.schema-1", 0o600)
    with contextlib.closing(sqlite3.connect(f"{copy.as_uri()}?immutable=1", uri=True)) as kept:
        assert kept.execute("PRAGMA user_version").fetchone() == (1,)
        assert kept.execute("SELECT COUNT(*) FROM record WHERE kind = 'SandboxRecord'").fetchone() == (2,)


def test_the_copy_stays_as_long_as_one_of_its_sandboxes(older):
    for gone in ([], [A], [C]):
        with State(older) as state:
            assert copy_of(older, 1).exists()
            for key in gone:
                state.delete(SandboxRecord, key)
    State(older).close()
    assert not copy_of(older, 1).exists()


def test_a_record_that_stands_under_the_older_and_the_newer_name_of_its_kind_is_the_older_one(older):
    execute(older, "INSERT INTO record SELECT 'sandbox', id, '{}' FROM record WHERE kind = 'SandboxRecord'")
    with State(older) as state:
        assert (state.all(SandboxRecord), list(state.damaged(SandboxRecord))) == ((sandbox(),), [C])


def test_a_daemon_that_migrates_beside_another_does_not_replace_the_copy(older, monkeypatch):
    """The lock of the state directory keeps them apart; without it, the later one waits, and finds nothing to do."""
    first = sqlite3.connect(older, isolation_level=None, check_same_thread=False)
    first.execute("PRAGMA journal_mode=WAL")
    first.execute("BEGIN IMMEDIATE")
    first.execute(f"PRAGMA user_version={SCHEMA}")
    monkeypatch.setattr(migrations, "_copy", lambda *_: pytest.fail("the copy is replaced"))
    timer = threading.Timer(0.2, lambda: first.execute("COMMIT"))
    timer.start()
    State(older).close()
    timer.join()
    first.close()


def test_a_migration_that_sqlite_has_rolled_back_says_why(older):
    execute(older, "CREATE TRIGGER full BEFORE UPDATE ON record BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END")
    with pytest.raises(FailedPrecondition, match="disk is full"):
        State(older)


def test_a_migration_that_is_killed_at_any_statement_is_done_again(older):
    statements = 0
    for at in itertools.count(1):
        command = (sys.executable, "-c", KILLED, older, str(at))
        if subprocess.run(command, cwd=os.getcwd(), check=False).returncode != -signal.SIGKILL:
            break
        statements = at
        with contextlib.closing(sqlite3.connect(older)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            (named,) = database.execute("SELECT COUNT(*) FROM record WHERE kind = 'SandboxRecord'").fetchone()
        assert (version, named) in ((1, 2), (SCHEMA, 0))
        if version == SCHEMA:
            make_schema_1(older)
    assert statements > 8
    with State(older) as state:
        assert (state.all(SandboxRecord), list(state.damaged(SandboxRecord))) == ((sandbox(),), [C])
    assert sorted(each.name for each in older.parent.iterdir()) == [older.name, copy_of(older, 1).name]


def test_what_stands_in_the_place_of_the_copy_keeps_no_current_database_from_opening(older):
    State(older).close()
    copy_of(older, 1).unlink()
    copy_of(older, 1).mkdir()
    with State(older) as state:
        assert state.all(SandboxRecord) == (sandbox(),)


def test_nobody_is_told_to_move_a_database_away_that_another_process_has_open(older, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, timeout=0.1, **more))
    with contextlib.closing(connect(older, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(FailedPrecondition, match="locked") as caught:
            State(older)
    assert "another process" in caught.value.hint


@pytest.mark.parametrize("version", [-1, -(2**31)])
def test_a_schema_that_no_version_has_written_is_refused(older, version):
    execute(older, f"PRAGMA user_version={version}")
    with pytest.raises(FailedPrecondition, match=f"its schema is {version}"):
        State(older)


def test_a_directory_is_not_a_database(path):
    path.mkdir()
    with pytest.raises(FailedPrecondition, match="not usable"):
        State(path)


def test_a_migration_that_fails_leaves_the_older_database(older, monkeypatch):
    def fail(database: sqlite3.Connection) -> None:
        migrations._name_kinds(database)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setitem(migrations.STEPS, 1, fail)
    with pytest.raises(FailedPrecondition, match="disk I/O error"):
        State(older)
    monkeypatch.undo()
    with State(older) as state:
        assert state.all(SandboxRecord) == (sandbox(),)


def test_a_database_that_cannot_be_copied_is_not_migrated(older, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(migrations, "replace_whole", full)
    with pytest.raises(FailedPrecondition, match="No space left") as caught:
        State(older)
    assert "room" in caught.value.hint
    with contextlib.closing(sqlite3.connect(older)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)


KILLED = """
import os, pathlib, signal, sqlite3, sys
from vmsandbox.state import State
seen = 0
class Connection(sqlite3.Connection):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.set_trace_callback(kill)
def kill(statement):
    global seen
    seen += 1
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
connect = sqlite3.connect
sqlite3.connect = lambda *args, **more: connect(*args, factory=Connection, **more)
State(pathlib.Path(sys.argv[1]))
"""

WRITER = """
import itertools, pathlib, sys
sys.path.insert(0, ".")
from tests.unit.state.test_database import A, B, sandbox
from vmsandbox.state import State
state = State(pathlib.Path(sys.argv[1]))
for n in itertools.count():
    state.put(A, sandbox(A, "apple" * 1000, boots=n))
    state.put(B, sandbox(B, "apple" * 1000, boots=n))
    print(n, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_records(path):
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, cwd=os.getcwd()) as writer:
        last = [int(writer.stdout.readline()) for _ in range(50)][-1]
        writer.send_signal(signal.SIGKILL)
    with State(path) as state:
        first, second = state.all(SandboxRecord)
    assert first.boots >= last
    assert first.boots - second.boots in (0, 1)
