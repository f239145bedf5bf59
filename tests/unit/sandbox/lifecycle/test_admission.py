"""First come, first served, as long as there is memory."""

import asyncio

import pytest

from vmsandbox.config import LimitsConfig
from vmsandbox.errors import ResourceExhausted
from vmsandbox.sandbox.lifecycle import admission as admission_module
from vmsandbox.sandbox.lifecycle.admission import Admission, available_memory, default_boots
from vmsandbox.typed_yaml import Size


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def admission() -> Admission:
    return Admission(budget=100, boots=2)


async def test_what_fits_is_admitted_at_once(admission):
    await admission.admit("a", 60)
    await admission.admit("b", 40)


async def test_what_does_not_fit_waits_for_a_release(admission):
    await admission.admit("a", 60)
    waiting = asyncio.create_task(admission.admit("b", 50))
    await settle()
    assert not waiting.done()
    admission.release("a")
    await waiting


async def test_a_small_one_does_not_overtake_a_large_one(admission):
    await admission.admit("a", 60)
    large, small = asyncio.create_task(admission.admit("large", 90)), asyncio.create_task(admission.admit("small", 10))
    await settle()
    assert not small.done()
    admission.release("a")
    await large
    await small


async def test_one_who_gives_up_makes_room_for_those_behind(admission):
    await admission.admit("a", 60)
    large, small = asyncio.create_task(admission.admit("large", 90)), asyncio.create_task(admission.admit("small", 10))
    await settle()
    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    await small


async def test_one_who_gives_up_just_when_it_is_admitted_holds_nothing(admission):
    await admission.admit("a", 60)
    waiting = asyncio.create_task(admission.admit("b", 90))
    await settle()
    admission.release("a")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await admission.admit("c", 100)


async def test_releasing_twice_or_what_was_never_admitted_succeeds(admission):
    await admission.admit("a", 60)
    admission.release("a")
    admission.release("a")
    admission.release("nobody")
    await admission.admit("b", 100)


async def test_what_is_larger_than_the_budget_never_waits(admission):
    with pytest.raises(ResourceExhausted, match="all machines together"):
        await admission.admit("a", 101)


async def test_a_machine_that_grows_has_what_is_free_and_does_not_wait(admission):
    await admission.admit("a", 40)
    await admission.admit("b", 30)
    admission.change("a", 70)
    with pytest.raises(ResourceExhausted, match="all machines together may take"):
        admission.change("a", 71)
    admission.change("a", 60)
    await admission.admit("c", 10)


async def test_what_a_machine_gives_back_is_for_the_next(admission):
    await admission.admit("a", 90)
    waiting = asyncio.create_task(admission.admit("b", 50))
    await settle()
    admission.change("a", 50)
    await waiting


async def test_a_machine_beyond_a_budget_that_was_lowered_may_shrink_and_keep_its_size(admission):
    admission.adopt("a", 150)
    admission.change("a", 150)
    admission.change("a", 120)
    with pytest.raises(ResourceExhausted):
        admission.change("a", 121)


async def test_the_change_of_a_machine_that_has_ended_commits_nothing(admission):
    admission.change("a", 60)
    await admission.admit("b", 100)


async def test_what_runs_already_counts_even_beyond_the_budget(admission):
    admission.adopt("a", 150)
    waiting = asyncio.create_task(admission.admit("b", 1))
    await settle()
    assert not waiting.done()
    admission.release("a")
    await waiting


async def test_a_few_boot_at_a_time(admission):
    booting = 0
    most = 0

    async def boot() -> None:
        nonlocal booting, most
        async with admission.booting():
            booting += 1
            most = max(most, booting)
            await settle()
            booting -= 1

    await asyncio.gather(*(boot() for _ in range(6)))
    assert most == 2


def test_the_defaults_are_this_hosts():
    assert available_memory() > 2**20
    assert default_boots() >= 2


async def test_other_limits_hold_for_those_that_wait() -> None:
    admission = Admission(100, 1)
    await admission.admit("running", 80)
    small, large = (asyncio.create_task(admission.admit(name, size)) for name, size in (("small", 30), ("large", 95)))
    await asyncio.sleep(0)
    assert not small.done()
    admission.limit(LimitsConfig(Size(110), 1))
    await small
    admission.limit(LimitsConfig(Size(90), 1))
    with pytest.raises(ResourceExhausted, match="all machines together"):
        await large
    with pytest.raises(ResourceExhausted):
        await admission.admit("other", 91)


async def test_without_a_limit_what_is_committed_counts_as_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "available_memory", lambda: 50)
    admission = Admission(100, 1)
    await admission.admit("running", 80)
    admission.limit(LimitsConfig())
    await asyncio.wait_for(admission.admit("next", 50), 5)
    waits = asyncio.create_task(admission.admit("one more", 1))
    await asyncio.sleep(0)
    assert not waits.done()
    waits.cancel()


async def test_more_machines_boot_side_by_side_at_once() -> None:
    admission = Admission(100, 1)
    async with admission.booting():
        admission.limit(LimitsConfig(Size(100), 2))
        async with asyncio.timeout(5), admission.booting():
            pass
