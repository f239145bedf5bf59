"""The guest's clock follows the host's: which samples count, when it is slewed and when stepped, and who is asked."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.agent import FakeAgent, Refusal
from tests.fakes.hostile_agent import MISBEHAVIOURS, misbehave
from tests.fakes.transport import UnixTransport
from tests.support.waiting import until
from vmsandbox import aio
from vmsandbox.errors import Unimplemented
from vmsandbox.guest import clock
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.clock import STEP_FROM, ClockKeeper, Correction, Sample, best, correction, sample
from vmsandbox.guest.session import Session
from vmsandbox.protocol.messages import AdjustClock, Clock, Event, ReadClock

MS = 1_000_000
HOUR = 3600 * 1000 * MS
NOW = 1_700_000_000_000 * MS

TIMES = st.integers(0, 2**63 - 1)
ROUND_TRIPS = st.integers(0, 10_000 * MS)


@given(behind=st.integers(-NOW, NOW), there=ROUND_TRIPS, back=ROUND_TRIPS)
def test_a_sample_is_wrong_by_at_most_half_of_its_round_trip(behind: int, there: int, back: int) -> None:
    guest = NOW + there - behind
    found = sample(NOW, guest, NOW + there + back, there + back)
    assert abs(found.behind - behind) <= (found.round_trip + 1) // 2


@given(behind=st.integers(-HOUR, HOUR), there=ROUND_TRIPS, back=ROUND_TRIPS, jump=st.integers(-HOUR, HOUR))
def test_a_sample_during_which_the_host_s_clock_was_set_is_known_to_be_bad(
    behind: int, there: int, back: int, jump: int
) -> None:
    """`behind` is by the host's clock after the jump, which came just before the answer."""
    guest = NOW + jump + there - behind
    found = sample(NOW, guest, NOW + jump + there + back, there + back)
    assert abs(found.behind - behind) <= (found.round_trip + 1) // 2


@given(guest=TIMES, host=st.integers(0, 2**62), round_trip=ROUND_TRIPS)
def test_what_a_guest_is_told_fits_the_protocol_whatever_it_says(guest: int, host: int, round_trip: int) -> None:
    found = correction(sample(host, guest, host + round_trip, round_trip))
    assert found is None or abs(found.nanoseconds) < 2**63


@given(behind=st.integers(-HOUR, HOUR), round_trip=ROUND_TRIPS)
def test_a_clock_is_stepped_only_where_it_is_surely_far_off_and_never_made_worse(behind: int, round_trip: int) -> None:
    found = correction(Sample(behind, round_trip))
    if found is None:
        assert abs(behind) < STEP_FROM + round_trip // 2
        return
    assert abs(behind - found.nanoseconds) <= abs(behind)
    surely = abs(behind) - round_trip // 2
    assert found.step is (surely >= STEP_FROM)
    if not found.step:
        assert abs(found.nanoseconds) <= STEP_FROM


@given(st.lists(st.builds(Sample, st.integers(), ROUND_TRIPS), min_size=1))
def test_the_quickest_sample_counts(samples: list[Sample]) -> None:
    assert best(samples).round_trip == min(each.round_trip for each in samples)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Sample(3 * HOUR, 2000 * MS), Correction(3 * HOUR, step=True)),
        (Sample(-3 * HOUR, 1 * MS), Correction(-3 * HOUR, step=True)),
        (Sample(20 * MS, 1 * MS), Correction(20 * MS, step=False)),
        (Sample(-20 * MS, 1 * MS), Correction(-20 * MS, step=False)),
        (Sample(200 * MS, 1000 * MS), None),
        (Sample(20 * MS, 100 * MS), None),
        (Sample(0, 1 * MS), None),
    ],
)
def test_what_is_done_about_a_difference(found: Sample, told: Correction | None) -> None:
    assert correction(found) == told


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[FakeAgent]:
    async with FakeAgent(tmp_path) as agent:
        yield agent


@pytest.fixture
async def session(agent: FakeAgent, tmp_path: Path) -> AsyncIterator[Session]:
    async with Session(UnixTransport(tmp_path), "pod", _ignore) as session:
        await session.connect(10)
        yield session


@pytest.fixture
def keeper(session: Session) -> ClockKeeper:
    return ClockKeeper(GuestClient(session), "pod")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "INTERVAL", (0.01, 0.02))


async def _ignore(_: Event) -> None:
    return


@pytest.mark.parametrize("hours", [-30, -1, 1, 24 * 365])
async def test_a_clock_that_is_hours_off_is_set_at_once(agent: FakeAgent, keeper: ClockKeeper, hours: int) -> None:
    agent.behind = hours * HOUR
    told = await keeper.check()
    assert told is not None and told.step
    assert abs(agent.behind) < 50 * MS


async def test_a_clock_that_is_a_little_off_is_slewed(agent: FakeAgent, keeper: ClockKeeper) -> None:
    agent.behind = 20 * MS
    told = await keeper.check()
    assert told is not None and not told.step
    assert abs(told.nanoseconds - 20 * MS) < 10 * MS


async def test_the_guest_is_asked_again_where_it_answers_slowly_and_its_quickest_answer_counts(
    agent: FakeAgent, keeper: ClockKeeper
) -> None:
    delays = [0.3, 0.2, 0.0, 0.3]

    async def dawdle(_: ReadClock) -> None:
        await asyncio.sleep(delays.pop(0))

    agent.before["read_clock"] = dawdle
    agent.behind = 60 * MS
    told = await keeper.check()
    assert told is not None, "the quick answer was not taken"
    assert abs(told.nanoseconds - 60 * MS) < 15 * MS


async def test_a_guest_that_always_answers_slowly_is_asked_no_more_than_four_times(
    agent: FakeAgent, keeper: ClockKeeper
) -> None:
    async def dawdle(_: ReadClock) -> None:
        await asyncio.sleep(0.06)

    agent.before["read_clock"] = dawdle
    assert await keeper.check() is None
    assert [type(request) for request in agent.requests] == [ReadClock] * 4


@pytest.mark.usefixtures("often")
async def test_it_is_checked_again_and_again(agent: FakeAgent, keeper: ClockKeeper) -> None:
    async with aio.background(keeper.run()):
        for hours in (1, -5, 100):
            agent.behind = hours * HOUR
            await until(lambda: abs(agent.behind) < 100 * MS)


async def test_it_is_checked_soon_where_there_is_reason_to(
    agent: FakeAgent, keeper: ClockKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "SPREAD", 0.01)
    async with aio.background(keeper.run()):
        await until(lambda: any(isinstance(request, AdjustClock) for request in agent.requests))
        agent.behind = HOUR
        keeper.check_soon()
        keeper.check_soon()
        begin = time.monotonic()
        await until(lambda: abs(agent.behind) < 100 * MS)
        assert time.monotonic() - begin < clock.INTERVAL[0] / 2


@pytest.mark.usefixtures("often")
async def test_an_agent_that_does_not_know_how_is_asked_once_and_that_is_all(
    agent: FakeAgent, keeper: ClockKeeper
) -> None:
    async def refuse(_: ReadClock) -> None:
        raise Refusal("unimplemented", "the agent has no method 'read_clock'")

    agent.before["read_clock"] = refuse
    await asyncio.wait_for(keeper.run(), 5)
    assert agent.requests == [ReadClock()]
    with pytest.raises(Unimplemented):
        await keeper.check()


@pytest.mark.usefixtures("often")
async def test_a_lost_connection_does_not_end_it(agent: FakeAgent, keeper: ClockKeeper) -> None:
    async with aio.background(keeper.run()):
        await agent.hang_up()
        agent.behind = HOUR
        await until(lambda: abs(agent.behind) < 100 * MS)


@pytest.mark.usefixtures("often")
async def test_it_ends_with_the_session(session: Session, keeper: ClockKeeper) -> None:
    async with aio.background(keeper.run()) as keeping:
        await session.aclose()
        await asyncio.wait_for(keeping, 5)


@pytest.mark.parametrize("at", [0, 1, 2**63 - 1])
async def test_a_guest_that_lies_harms_itself_alone(agent: FakeAgent, keeper: ClockKeeper, at: int) -> None:
    agent.answers["read_clock"] = lambda _: Clock(at)
    told = await keeper.check()
    assert told is not None and told.step


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("name", MISBEHAVIOURS)
async def test_no_misbehaviour_of_an_agent_makes_it_fail(
    agent: FakeAgent, session: Session, keeper: ClockKeeper, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(clock, "_DEADLINE", 0.05)
    misbehave(agent, name)
    await agent.hang_up()
    async with aio.background(keeper.run()) as keeping:
        await asyncio.sleep(0.2)
        assert not keeping.done() or keeping.exception() is None


async def test_what_is_told_is_logged_once_an_hour_at_most(
    agent: FakeAgent, keeper: ClockKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for _ in range(3):
        agent.behind = HOUR
        await keeper.check()
    assert len([each for each in caplog.records if "clock is set" in each.message]) == 1
