"""Work that takes long: told to the one who listens, else to the log."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsandbox import progress
from vmsandbox.fs.locks import locked, locked_async


class Person:
    """Somebody who waits, and what they saw."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.listener = progress.Listener(self._step, lambda text: self.seen.append(f"warning: {text}"))

    @contextlib.contextmanager
    def _step(self, text: str) -> Iterator[None]:
        self.seen.append(f"begin {text}")
        yield
        self.seen.append(f"end {text}")


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    monkeypatch.setattr(logging.getLogger("vmsandbox.progress"), "level", logging.WARNING)
    return Person()


def test_a_listener_sees_when_work_begins_and_ends(person: Person) -> None:
    with progress.heard_by(person.listener), progress.doing("Trying"):
        progress.warn("slow")
    assert person.seen == ["begin Trying", "warning: slow", "end Trying"]


def test_the_log_has_it_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), progress.doing("Trying"):
        progress.warn("slow")
    assert [record.getMessage() for record in caplog.records] == ["Trying", "slow"]


async def test_a_lock_that_another_process_holds_is_told_after_a_while(person: Person, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with progress.heard_by(person.listener):
        async with locked_async(path):
            pass
        assert person.seen == [], "it was free"
        with locked(path):
            waiting = asyncio.create_task(_hold(path))
            await asyncio.sleep(1.2)
            assert person.seen == [f"begin Waiting for another process, which holds {path}"]
        await waiting
    assert person.seen[1:] == [f"end Waiting for another process, which holds {path}"]


async def _hold(path: Path) -> None:
    async with locked_async(path):
        pass
