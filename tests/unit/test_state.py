import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from vmsandbox.errors import FailedPrecondition, ResourceExhausted
from vmsandbox.state import State


@dataclass(frozen=True)
class Fruit:
    name: str
    seeds: int = 0
    labels: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def state(tmp_path):
    with State(tmp_path / "state.db") as state:
        yield state


def test_a_record_comes_back_as_it_was_put(state):
    state.put("a", Fruit("apple", 5, {"colour": "red"}))
    assert state.all(Fruit) == (Fruit("apple", 5, {"colour": "red"}),)


def test_putting_again_replaces(state):
    state.put("a", Fruit("apple"))
    state.put("a", Fruit("pear"))
    assert state.all(Fruit) == (Fruit("pear"),)


def test_deleting_what_is_not_there_succeeds(state):
    state.delete(Fruit, "nothing")
    assert state.all(Fruit) == ()


def test_a_database_of_another_version_is_refused_with_a_hint(tmp_path):
    database = sqlite3.connect(tmp_path / "state.db")
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(FailedPrecondition, match="version 99") as caught:
        State(tmp_path / "state.db")
    assert caught.value.hint


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "state.db").write_bytes(b"not a database at all, but long enough" * 50)
    with pytest.raises(FailedPrecondition, match="not usable"):
        State(tmp_path / "state.db")


DAMAGED = {
    "another type": '{"name": 3}',
    "an unknown field": '{"name": "pear", "more": 1}',
    "no object": "[]",
    "no JSON": "{",
    "nothing": "",
    "deeply nested": "[" * 100_000,
    "no text": b"\xff\xfe",
}


@pytest.mark.parametrize("stored", ["?", "CAST(? AS TEXT)"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_record_costs_no_other(state, tmp_path, name, stored):
    for key in ("a", "b", "c"):
        state.put(key, Fruit(key))
    other = sqlite3.connect(tmp_path / "state.db")
    with other:
        other.execute(f"UPDATE record SET body = {stored} WHERE id = 'b'", (DAMAGED[name],))
    other.close()
    assert state.all(Fruit) == (Fruit("a"), Fruit("c"))
    assert list(state.damaged(Fruit)) == ["b"]
    assert "Fruit b is damaged" in str(state.damaged(Fruit)["b"])


def test_a_database_that_is_damaged_as_a_whole_is_refused_with_a_hint(tmp_path):
    path = tmp_path / "state.db"
    with State(path) as state:
        state.put("a", Fruit("apple"))
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 4096)
    with State(path) as state, pytest.raises(FailedPrecondition, match="cannot be read") as caught:
        state.all(Fruit)
    assert caught.value.hint


def test_a_database_that_takes_no_more_says_so_and_what_has_happened_is_only_logged(tmp_path, caplog):
    with State(tmp_path / "state.db") as state:
        state._database.execute("PRAGMA max_page_count=4")
        with pytest.raises(ResourceExhausted, match=r"state\.db cannot be written"):
            state.put("a", Fruit("apple" * 10_000, 1))
        state.note("a", Fruit("apple" * 10_000, 1))
        assert state.all(Fruit) == ()
    assert "Fruit a is not recorded" in caplog.text


WRITER = """
import itertools, pathlib, sys
sys.path.insert(0, ".")
from tests.unit.test_state import Fruit
from vmsandbox.state import State
state = State(pathlib.Path(sys.argv[1]))
for n in itertools.count():
    state.put("a", Fruit("apple" * 1000, n))
    state.put("b", Fruit("apple" * 1000, n))
    print(n, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_records(tmp_path):
    path = tmp_path / "state.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, cwd=os.getcwd()) as writer:
        last = [int(writer.stdout.readline()) for _ in range(50)][-1]
        writer.send_signal(signal.SIGKILL)
    with State(path) as state:
        first, second = state.all(Fruit)
    assert first.seeds >= last
    assert first.seeds - second.seeds in (0, 1)
