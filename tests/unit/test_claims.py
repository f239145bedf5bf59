import asyncio
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from vmsandbox.claims import Claims
from vmsandbox.errors import ResourceExhausted


def cids(directory: Path, first: int = 3, last: int = 0x7FFFFFFF, **more: Any) -> Claims:
    return Claims(directory, range(first, last + 1), "CIDs", **more)


def _allocate_many(directory: Path, worker: int, count: int) -> None:
    allocator = cids(directory, last=82)
    for number in range(count):
        allocator.allocate(f"{worker}-{number}")


def _allocate_until_killed(directory: Path) -> None:
    allocator = cids(directory)
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
    owners = cids(tmp_path).owners()
    assert len(owners) == len(set(owners.values())) == 80


async def test_claims_stay_readable_when_a_process_is_killed_while_claiming(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_allocate_until_killed, args=(tmp_path,))
    worker.start()
    while not (tmp_path / ".lock").exists() or len(cids(tmp_path).owners()) < 5:
        await asyncio.sleep(0.01)
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    owners = cids(tmp_path).owners()
    assert all(owners.values())
    assert cids(tmp_path).allocate("after") not in owners


def test_an_owner_keeps_its_cid(tmp_path: Path) -> None:
    cid = cids(tmp_path).allocate("pod")
    assert cids(tmp_path).allocate("pod") == cid
    assert cids(tmp_path).owners() == {cid: "pod"}
    assert (cids(tmp_path).of("pod"), cids(tmp_path).of("other")) == (cid, None)


def test_a_released_cid_can_be_given_again_and_releasing_twice_succeeds(tmp_path: Path) -> None:
    allocator = cids(tmp_path, last=3)
    assert allocator.allocate("a") == 3
    allocator.release("a")
    allocator.release("a")
    assert allocator.allocate("b") == 3


def test_cids_of_the_host_are_never_given(tmp_path: Path) -> None:
    allocator = cids(tmp_path, last=20)
    given = {allocator.allocate(str(owner)) for owner in range(18)}
    assert given == set(range(3, 21))


def test_a_cid_in_use_by_another_program_is_passed_over(tmp_path: Path) -> None:
    allocator = cids(tmp_path, first=3, last=5, taken=lambda cid: cid != 4)
    assert allocator.allocate("pod") == 4


def test_exhaustion_says_where_the_claims_are(tmp_path: Path) -> None:
    allocator = cids(tmp_path, last=3)
    allocator.allocate("a")
    with pytest.raises(ResourceExhausted) as caught:
        allocator.allocate("b")
    assert str(tmp_path) in caught.value.hint
