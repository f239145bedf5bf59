import asyncio
import itertools
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until
from vmsandbox.claims import Claims
from vmsandbox.errors import ResourceExhausted
from vmsandbox.fs.locks import locked


def cids(directory: Path, first: int = 3, last: int = 0x7FFFFFFF, **more: Any) -> Claims:
    return Claims(directory, range(first, last + 1), "CIDs", **more)


def _allocate_many(directory: Path, worker: int, count: int) -> None:
    async def allocate() -> None:
        for number in range(count):
            await cids(directory, last=82).allocate(f"{worker}-{number}")

    asyncio.run(allocate())


def _allocate_until_killed(directory: Path) -> None:
    async def allocate() -> None:
        allocator = cids(directory)
        for number in itertools.count():
            await allocator.allocate(f"{number}")
            allocator.release(f"{number - 5}")

    asyncio.run(allocate())


def _hold(lock: Path, held: Any) -> None:
    with locked(lock):
        held.set()
        signal.pause()


def test_processes_that_allocate_at_once_share_no_cid(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_allocate_many, args=(tmp_path, n, 20)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    owners = cids(tmp_path).owners()
    assert len(owners) == len(set(owners.values())) == 80


async def test_claims_stay_readable_when_a_process_is_killed_while_claiming(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_allocate_until_killed, args=(tmp_path,))
    worker.start()
    await until(lambda: (tmp_path / ".lock").exists() and len(cids(tmp_path).owners()) >= 5, 60)
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    owners = cids(tmp_path).owners()
    assert all(owners.values())
    assert await cids(tmp_path).allocate("after") not in owners


async def test_an_owner_keeps_its_cid(tmp_path: Path) -> None:
    cid = await cids(tmp_path).allocate("pod")
    assert await cids(tmp_path).allocate("pod") == cid
    assert cids(tmp_path).owners() == {cid: "pod"}
    assert (cids(tmp_path).of("pod"), cids(tmp_path).of("other")) == (cid, None)


async def test_a_released_cid_can_be_given_again_and_releasing_twice_succeeds(tmp_path: Path) -> None:
    allocator = cids(tmp_path, last=3)
    assert await allocator.allocate("a") == 3
    allocator.release("a")
    allocator.release("a")
    assert await allocator.allocate("b") == 3


async def test_cids_of_the_host_are_never_given(tmp_path: Path) -> None:
    allocator = cids(tmp_path, last=20)
    given = {await allocator.allocate(str(owner)) for owner in range(18)}
    assert given == set(range(3, 21))


async def test_a_cid_in_use_by_another_program_is_passed_over(tmp_path: Path) -> None:
    allocator = cids(tmp_path, first=3, last=5, taken=lambda cid: cid != 4)
    assert await allocator.allocate("pod") == 4


async def test_a_claim_waits_for_a_process_that_is_stopped_without_holding_up_the_event_loop(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / ".lock", held))
    holder.start()
    try:
        await asyncio.to_thread(held.wait)
        waiting, given_up = (asyncio.create_task(cids(tmp_path).allocate(owner)) for owner in ("pod", "given up"))
        await asyncio.sleep(0.05)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert not waiting.done()
    finally:
        os.kill(holder.pid or 0, signal.SIGKILL)
        holder.join()
    cid = await asyncio.wait_for(waiting, 10)
    assert await asyncio.to_thread(cids(tmp_path).owners) == {cid: "pod"}


async def test_exhaustion_says_where_the_claims_are(tmp_path: Path) -> None:
    allocator = cids(tmp_path, last=3)
    await allocator.allocate("a")
    with pytest.raises(ResourceExhausted) as caught:
        await allocator.allocate("b")
    assert str(tmp_path) in caught.value.hint
