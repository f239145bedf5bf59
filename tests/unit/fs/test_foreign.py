import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsandbox.errors import DeadlineExceeded, Unavailable
from vmsandbox.fs import foreign
from vmsandbox.fs.foreign import MOST_OF_ONE, ForeignPaths

HUNG = Path("/mnt/dead-nfs")


class Hang:
    """Calls that hang until they are let go."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.given_back: list[str] = []
        self.all_given_back = threading.Event()

    def __call__(self) -> str:
        self.released.wait(60)
        return "result"

    def take_back(self, result: str) -> None:
        self.given_back.append(result)
        self.all_given_back.set()


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hang]:
    monkeypatch.setattr(foreign, "DEADLINE", 0.05)
    hang = Hang()
    yield hang
    hang.released.set()
    for thread in threading.enumerate():
        if thread.name == str(HUNG):
            thread.join(60)


async def test_what_a_call_returns_or_raises_is_the_callers(tmp_path):
    paths = ForeignPaths()
    assert await paths.call(tmp_path, tmp_path.is_dir)
    with pytest.raises(FileNotFoundError):
        await paths.call(tmp_path, (tmp_path / "missing").stat)


async def test_a_path_that_hangs_is_an_error_that_names_it_and_others_go_on(hang, tmp_path):
    with pytest.raises(DeadlineExceeded, match="/mnt/dead-nfs did not answer within"):
        await ForeignPaths().call(HUNG, hang)
    assert await ForeignPaths().call(tmp_path, tmp_path.is_dir)


async def test_calls_that_hang_are_bounded_for_each_owner_and_none_is_refused_to_another(hang, tmp_path):
    paths = ForeignPaths()
    for _ in range(MOST_OF_ONE):
        with pytest.raises(DeadlineExceeded):
            await paths.call(HUNG, hang)
    with pytest.raises(Unavailable, match="4 earlier calls hang, the first on /mnt/dead-nfs"):
        await paths.call(tmp_path, tmp_path.is_dir)
    assert await ForeignPaths().call(tmp_path, tmp_path.is_dir)


async def test_calls_that_are_made_at_once_have_no_more_threads_than_those_in_turn(hang):
    paths = ForeignPaths()
    results = await asyncio.gather(*(paths.call(HUNG, hang) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(result, DeadlineExceeded) for result in results) == MOST_OF_ONE
    assert sum(isinstance(result, Unavailable) for result in results) == 50 - MOST_OF_ONE
    assert sum(thread.name == str(HUNG) for thread in threading.enumerate()) == MOST_OF_ONE


async def test_calls_that_hang_are_bounded_for_the_process(hang, tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "MOST_OF_ALL", 2)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await ForeignPaths().call(HUNG, hang)
    with pytest.raises(Unavailable):
        await ForeignPaths().call(tmp_path, tmp_path.is_dir)


async def test_an_owner_whose_calls_have_come_back_makes_new_ones(hang, tmp_path):
    paths = ForeignPaths()
    for _ in range(MOST_OF_ONE):
        with pytest.raises(DeadlineExceeded):
            await paths.call(HUNG, hang)
    hang.released.set()
    for thread in threading.enumerate():
        if thread.name == str(HUNG):
            thread.join()
    assert await paths.call(tmp_path, tmp_path.is_dir)


async def test_what_comes_after_the_deadline_is_given_back(hang):
    with pytest.raises(DeadlineExceeded):
        await ForeignPaths().call(HUNG, hang, late=hang.take_back)
    hang.released.set()
    assert hang.all_given_back.wait(60)
    assert hang.given_back == ["result"]


async def test_what_comes_for_a_caller_that_was_cancelled_is_given_back(hang, monkeypatch):
    monkeypatch.setattr(foreign, "DEADLINE", 60)
    task = asyncio.create_task(ForeignPaths().call(HUNG, hang, late=hang.take_back))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hang.released.set()
    assert hang.all_given_back.wait(60)


async def test_what_came_at_the_moment_of_the_cancellation_is_given_back(hang):
    task = asyncio.create_task(ForeignPaths().call(HUNG, lambda: "result", late=hang.take_back))
    await asyncio.sleep(0)
    while any(thread.name == str(HUNG) for thread in threading.enumerate()):
        pass  # The loop does not turn meanwhile: it learns of the end and of the cancellation at once.
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hang.all_given_back.wait(60)


def test_a_process_whose_calls_hang_can_end():
    script = """
import asyncio, threading, pathlib
from vmsandbox.fs import foreign
foreign.DEADLINE = 0.05
asyncio.run(foreign.ForeignPaths().call(pathlib.Path("/x"), threading.Event().wait))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "DeadlineExceeded: /x did not answer" in ended.stderr
