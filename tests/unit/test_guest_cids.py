import asyncio
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from vmsandbox.errors import ResourceExhausted
from vmsandbox.guest.cids import FIRST_CID, CidAllocator


def _allocate_many(directory: Path, worker: int, count: int) -> None:
    allocator = CidAllocator(directory, last=FIRST_CID + 79)
    for number in range(count):
        allocator.allocate(f"{worker}-{number}")


def _allocate_until_killed(directory: Path) -> None:
    allocator = CidAllocator(directory)
    number = 0
    while True:
        allocator.allocate(f"{number}")
        allocator.release(f"{number - 5}")
        number += 1


def test_processes_that_allocate_at_once_share_no_cid(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_allocate_many, args=(tmp_path, n, 20)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    owners = CidAllocator(tmp_path).owners()
    assert len(owners) == len(set(owners.values())) == 80


async def test_claims_stay_readable_when_a_process_is_killed_while_claiming(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_allocate_until_killed, args=(tmp_path,))
    worker.start()
    while not (tmp_path / ".lock").exists() or len(CidAllocator(tmp_path).owners()) < 5:
        await asyncio.sleep(0.01)
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    owners = CidAllocator(tmp_path).owners()
    assert all(owners.values())
    assert CidAllocator(tmp_path).allocate("after") not in owners


def test_an_owner_keeps_its_cid(tmp_path: Path) -> None:
    cid = CidAllocator(tmp_path).allocate("pod")
    assert CidAllocator(tmp_path).allocate("pod") == cid
    assert CidAllocator(tmp_path).owners() == {cid: "pod"}


def test_a_released_cid_can_be_given_again_and_releasing_twice_succeeds(tmp_path: Path) -> None:
    allocator = CidAllocator(tmp_path, last=FIRST_CID)
    assert allocator.allocate("a") == FIRST_CID
    allocator.release("a")
    allocator.release("a")
    assert allocator.allocate("b") == FIRST_CID


def test_cids_of_the_host_are_never_given(tmp_path: Path) -> None:
    allocator = CidAllocator(tmp_path, last=20)
    given = {allocator.allocate(str(owner)) for owner in range(18)}
    assert given == set(range(3, 21))


def test_a_cid_in_use_by_another_program_is_passed_over(tmp_path: Path) -> None:
    allocator = CidAllocator(tmp_path, first=3, last=5, taken=lambda cid: cid != 4)
    assert allocator.allocate("pod") == 4


def test_exhaustion_says_where_the_claims_are(tmp_path: Path) -> None:
    allocator = CidAllocator(tmp_path, last=FIRST_CID)
    allocator.allocate("a")
    with pytest.raises(ResourceExhausted) as caught:
        allocator.allocate("b")
    assert str(tmp_path) in caught.value.hint
