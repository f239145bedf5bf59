"""The agent's changes of its machine's clock. The host's clock is not set: this agent has a fake."""

import time
from pathlib import Path

import pytest

from tests.fakes.transport import UnixTransport
from tests.guest.client import Client
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.clock import ClockKeeper
from vmsandbox.guest.session import Session
from vmsandbox.protocol.messages import AdjustClock, Empty, Event, ReadClock
from vmsandbox_agent.setup.clock import Timex, adjtimex, slewing, stepping

MS = 1_000_000
SETOFFSET, NANO, OFFSET, PLL, UNSYNC = 0x100, 0x2000, 0x1, 0x1, 0x40
"""The modes of sys/timex.h."""


def test_the_kernel_fills_the_structure_as_it_is_declared() -> None:
    """Reading, which adjtimex(2) does where no mode is given, changes nothing."""
    read = Timex(modes=0)
    before = time.time()
    adjtimex(read)
    assert before - 1 <= read.seconds <= time.time() + 1
    assert read.tick == 10_000 and read.modes == 0


@pytest.mark.parametrize("nanoseconds", [0, 1, -1, 1_500_000_000, -1_500_000_000, 10**18, -(10**18)])
def test_a_step_is_relative_and_drops_what_was_being_slewed(nanoseconds: int) -> None:
    order = stepping(nanoseconds)
    assert order.modes & SETOFFSET and order.modes & NANO and order.modes & OFFSET
    assert 0 <= order.nanoseconds < 10**9
    assert order.seconds * 10**9 + order.nanoseconds == nanoseconds
    assert order.offset == 0


@pytest.mark.parametrize(
    ("nanoseconds", "offset"),
    [(0, 0), (20 * MS, 20 * MS), (-20 * MS, -20 * MS), (10**18, 500 * MS), (-(10**18), -500 * MS)],
)
def test_slewing_never_steps_and_leaves_the_clock_synchronised(nanoseconds: int, offset: int) -> None:
    order = slewing(nanoseconds)
    assert not order.modes & SETOFFSET
    assert (order.offset, order.seconds, order.nanoseconds) == (offset, 0, 0)
    assert order.status & PLL and not order.status & UNSYNC


async def test_the_clock_is_read_and_adjusted_by_request(client: Client) -> None:
    async def behind() -> float:
        return time.time() - (await client.call(ReadClock())).at / 1e9

    assert await behind() == pytest.approx(3600, abs=5)
    assert await client.call(AdjustClock(3600 * 10**9, step=True)) == Empty()
    assert await behind() == pytest.approx(0, abs=5)
    await client.call(AdjustClock(-3600 * 10**9))
    assert await behind() == pytest.approx(720, abs=5)


async def test_the_host_s_end_keeps_it(agent: Path) -> None:
    async def ignore(_: Event) -> None:
        return

    async with Session(UnixTransport(agent), "pod", ignore) as session:
        await session.connect(30)
        keeper = ClockKeeper(GuestClient(session), "pod")
        told = await keeper.check()
        assert told is not None and told.step
        assert abs((await keeper.compare()).behind) < 100 * MS
