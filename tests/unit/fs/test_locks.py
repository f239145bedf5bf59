"""Locks between processes, and their waiting."""

import asyncio
from pathlib import Path

import pytest

from vmsandbox.fs.locks import locked_async, try_locked


async def test_a_lock_that_is_held_alone_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    async with locked_async(path):
        with try_locked(path) as held:
            assert not held
    with try_locked(path) as held:
        assert held


async def test_who_shares_a_lock_keeps_out_who_wants_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    async with locked_async(path, shared=True), locked_async(path, shared=True):
        with try_locked(path) as held:
            assert not held


async def test_waiters_come_one_after_the_other(tmp_path: Path) -> None:
    inside: list[int] = []
    most = []

    async def work(number: int) -> None:
        async with locked_async(tmp_path / "lock"):
            inside.append(number)
            most.append(len(inside))
            await asyncio.sleep(0)
            inside.remove(number)

    await asyncio.gather(*map(work, range(10)))
    assert most == [1] * 10


async def test_a_waiter_that_is_cancelled_takes_nothing_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    async with locked_async(path):
        waiter = asyncio.create_task(_hold(path))
        await asyncio.sleep(0.05)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    async with asyncio.timeout(5):
        await _hold(path)


async def _hold(path: Path) -> None:
    async with locked_async(path):
        pass
