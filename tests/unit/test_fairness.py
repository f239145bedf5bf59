"""How the time of the event loop is divided among guests, by a clock that moves when somebody sleeps."""

import asyncio
import time

import pytest

from vmsandbox import fairness
from vmsandbox.fairness import AHEAD, PART, UNBROKEN, Fairness, TimeShare


class Clock:
    """Tells a time that `sleep` moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.turns += not seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fairness.asyncio, "sleep", clock.sleep)
    return clock


async def work(share: TimeShare, seconds: float, pieces: int) -> None:
    for _ in range(pieces):
        await share.turn()
        share.charge(seconds / pieces)


async def test_a_guest_that_asks_for_little_never_waits(clock: Clock) -> None:
    share = TimeShare(Fairness(clock))
    for _ in range(100):
        await work(share, AHEAD / 2, 5)
        assert clock.now == pytest.approx(0)
        share._at -= 1  # A second goes by.


async def test_a_guest_that_floods_gets_its_part_of_the_time(clock: Clock) -> None:
    await work(TimeShare(Fairness(clock)), AHEAD + 3 * PART, 1000)
    assert clock.now == pytest.approx(3, rel=0.01)


async def test_all_that_is_ready_has_its_turn_after_a_little_work(clock: Clock) -> None:
    await work(TimeShare(Fairness(clock)), AHEAD / 2, 1000)
    assert clock.turns == pytest.approx(AHEAD / 2 / UNBROKEN, abs=1)


async def test_guests_that_flood_divide_the_part_of_one(clock: Clock) -> None:
    among = Fairness(clock)
    shares = [TimeShare(among) for _ in range(4)]
    for share in shares:
        share.charge(2 * AHEAD)
    assert among.rate == pytest.approx(PART / 4)
    await shares[0].turn()
    assert clock.now == pytest.approx(AHEAD / (PART / 4))


async def test_a_quiet_guest_does_not_wait_for_those_that_flood(clock: Clock) -> None:
    among = Fairness(clock)
    TimeShare(among).charge(1000)
    await work(TimeShare(among), AHEAD / 2, 10)
    assert clock.now == 0


async def test_a_guest_that_is_gone_takes_no_part(clock: Clock) -> None:
    among = Fairness(clock)
    gone = TimeShare(among)
    gone.charge(1)
    del gone
    assert among.rate == PART


async def test_the_time_of_a_body_is_charged() -> None:
    share = TimeShare()
    with share.charged():
        sum(range(100_000))
    assert share._unbroken > 0
    await asyncio.wait_for(share.turn(), 10)


def test_a_guest_does_not_pay_for_the_time_in_which_the_process_is_stopped(clock: Clock) -> None:
    share = TimeShare(Fairness(clock))
    with share.charged():
        time.sleep(2 * AHEAD)  # As for one that is stopped, no CPU time goes by.
    assert share._credit > 0
