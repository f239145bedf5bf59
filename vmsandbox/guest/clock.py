"""The guest's clock, kept with the host's: the guest is asked for its time, and told by how much it is wrong.

As with NTP, a sample is worth as much as its round trip is short. Nothing here knows how the machine runs: a guest
under KVM has kvm-clock, which drifts little, and an emulated one a counter that may be calibrated badly; both fall
behind while their machine is paused, and a privileged container may set the clock of either.

A guest decides what it answers, and so what its own clock shows; that is all it can gain.
"""

import asyncio
import random
import time
from collections.abc import Collection
from dataclasses import dataclass

from vmsandbox import log as logs
from vmsandbox.errors import Unimplemented, VmsandboxError
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.session import RunState

_log = logs.get(__name__)

INTERVAL = (10.0, 20.0)
"""Seconds between two checks, chosen at random, so that the guests of a node are not all asked at once."""

SPREAD = 1.0
"""Seconds over which checks that were asked for are spread: a jump of the host's clock concerns all guests."""

SAMPLES = 4
"""Times that a guest is asked in one check, at most."""

GOOD = 5_000_000
"""Nanoseconds of a round trip after which no better one is looked for."""

SLEW_WITHIN = 40_000_000
"""Nanoseconds of a round trip that is short enough to correct a small difference by."""

STEP_FROM = 50_000_000
"""Nanoseconds of difference from which on a clock is stepped, and not slewed."""

_QUIET = 3600.0
"""Seconds between two lines of the log that a guest's clock was set: one that is wrong each time may be meant so."""

_DEADLINE = 5.0
"""Seconds in which a guest has to answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of the guest's clock, in nanoseconds."""

    behind: int
    """Nanoseconds that the guest's clock was behind the host's, if it was read half-way through the round trip."""
    round_trip: int
    """The truth is within half of it from `behind`, on either side."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The difference that a guest adds to its clock."""

    nanoseconds: int
    step: bool
    """At once, instead of by and by."""


def sample(sent: int, guest: int, received: int, round_trip: int) -> Sample:
    """Compare clocks.

    Args:
        sent: the host's time when the guest was asked, in nanoseconds since the epoch.
        guest: the guest's answer.
        received: the host's time when that came.
        round_trip: nanoseconds between the two by a clock that nobody sets. Where the two times tell another story,
            the host's clock was set meanwhile, and the sample is worth as little as that jump was large.
    """
    jump = received - sent - round_trip
    return Sample((sent + received) // 2 - guest, round_trip + abs(jump))


def best(samples: Collection[Sample]) -> Sample:
    """The sample of the shortest round trip."""
    return min(samples, key=lambda each: each.round_trip)


def correction(found: Sample) -> Correction | None:
    """Return the correction for a sample; None if the sample is too uncertain to show that the clock is wrong.

    A clock is stepped where it is certain to be `STEP_FROM` away. Less is slewed, so that time never goes back.
    """
    if abs(found.behind) - found.round_trip // 2 >= STEP_FROM:
        return Correction(found.behind, step=True)
    if found.round_trip <= SLEW_WITHIN and found.behind:
        within = max(-STEP_FROM, min(STEP_FROM, found.behind))
        return Correction(within, step=False)
    return None


class ClockKeeper:
    """Checks the clock of one guest, at intervals and when it is asked to."""

    def __init__(self, client: GuestClient, name: str) -> None:
        """Check through `client`, which stays its owner's; `name` of the sandbox is for messages."""
        self._client = client
        self._name = name
        self._asked = asyncio.Event()
        self._said = -_QUIET

    def check_soon(self) -> None:
        """There is reason to think that one of the clocks has jumped."""
        self._asked.set()

    async def run(self) -> None:
        """Check for as long as the session lasts. An agent of an earlier version is asked once."""
        while self._client.session.state is not RunState.CLOSED:
            try:
                await self.check()
            except Unimplemented:
                _log.info("%s: the clock is not corrected: the agent is too old", self._name)
                return
            except VmsandboxError as error:
                _log.debug("%s: the clock was not checked: %s", self._name, error)
            await self._pause()

    async def check(self) -> Correction | None:
        """Compare the clocks and correct the guest's; what it was told. Raises as `GuestClient`."""
        told = correction(await self.compare())
        if told is not None:
            if told.step:
                self._say(told)
            await self._client.adjust_clock(told.nanoseconds, step=told.step, deadline=_DEADLINE)
        return told

    def _say(self, told: Correction) -> None:
        if (now := time.monotonic()) - self._said >= _QUIET:
            self._said = now
            _log.info("%s: the clock is set by %+.3f s", self._name, told.nanoseconds / 1e9)

    async def compare(self) -> Sample:
        """The best of a few samples. Raises as `GuestClient`."""
        samples: list[Sample] = []
        while len(samples) < SAMPLES and not (samples and best(samples).round_trip <= GOOD):
            samples.append(await self._sample())
        return best(samples)

    async def _sample(self) -> Sample:
        begin, sent = time.monotonic_ns(), time.time_ns()
        guest = await self._client.read_clock(deadline=_DEADLINE)
        return sample(sent, guest, time.time_ns(), time.monotonic_ns() - begin)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(random.uniform(*INTERVAL)):  # noqa: S311 - jitter
                await self._asked.wait()
        except TimeoutError:
            return
        self._asked.clear()
        await asyncio.sleep(random.uniform(0, SPREAD))  # noqa: S311 - jitter
