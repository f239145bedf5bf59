"""Directories that are watched for new names in them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.atomic_writer import make_volume, write
from tests.support.waiting import until
from vmsandbox.errors import ResourceExhausted
from vmsandbox.fs import watching
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.fs.watching import Watcher


@pytest.fixture
async def watcher() -> AsyncIterator[Watcher]:
    watcher = Watcher()
    yield watcher
    assert watcher._fd is None, "a watch was left"


@pytest.fixture
async def paths() -> ForeignPaths:
    return ForeignPaths()


async def test_a_rename_is_told_by_its_new_name_to_those_who_watch_there(
    watcher: Watcher, paths: ForeignPaths, tmp_path: Path
) -> None:
    one, two = make_volume(tmp_path, {"key": "1"}), make_volume(tmp_path, {"key": "1"}, "other")
    seen: list[str] = []
    again: list[str] = []
    elsewhere: list[str] = []
    watches = [
        await watcher.watch(one, seen.append, paths),
        await watcher.watch(one, again.append, paths),
        await watcher.watch(two, elsewhere.append, paths),
    ]
    write(one, {"key": "2"})
    await until(lambda: seen and again)
    assert (seen, again, elsewhere) == (["..data"], ["..data"], [])
    watcher.end(watches[0])
    watcher.end(watches[0])
    write(one, {"key": "3"})
    await until(lambda: len(again) == 2)
    assert seen == ["..data"]
    for watch in watches:
        watcher.end(watch)


async def test_a_directory_that_goes_is_watched_no_more_and_can_be_let_go(
    watcher: Watcher, paths: ForeignPaths, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    seen: list[str] = []
    watch = await watcher.watch(tmp_path / "gone", seen.append, paths)
    (tmp_path / "gone").rmdir()
    await asyncio.sleep(0.05)
    watcher.end(watch)
    assert seen == []


async def test_what_is_not_a_directory_is_not_watched(watcher: Watcher, paths: ForeignPaths, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "missing"):
        with pytest.raises(OSError, match=name):
            await watcher.watch(tmp_path / name, lambda _: None, paths)


async def test_watches_are_bounded(
    watcher: Watcher, paths: ForeignPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST", 1)
    watch = await watcher.watch(tmp_path, lambda _: None, paths)
    with pytest.raises(ResourceExhausted, match="watched already"):
        await watcher.watch(tmp_path, lambda _: None, paths)
    watcher.end(watch)
    watcher.end(await watcher.watch(tmp_path, lambda _: None, paths))


async def test_lost_events_are_told_to_all(watcher: Watcher, paths: ForeignPaths, tmp_path: Path) -> None:
    seen: list[str] = []
    watch = await watcher.watch(tmp_path, seen.append, paths)
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(most + 100):
        (tmp_path / f"{number % 2}").touch()
        (tmp_path / f"{number % 2}").rename(tmp_path / f"new{number % 2}")
    await until(lambda: "" in seen)
    watcher.end(watch)
