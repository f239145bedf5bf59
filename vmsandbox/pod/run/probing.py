"""Probes of a container: startup first, then liveness. Readiness concerns nobody here: there are no services."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vmsandbox.errors import VmsandboxError
from vmsandbox.pod.api.probes import Probe


@dataclass(frozen=True, slots=True)
class ProbeFailure:
    """A container has failed a probe as often as it may, and is to be ended."""

    message: str
    probe: Probe


Check = Callable[[Probe], Awaitable[None]]
"""Does what the probe says, once, and raises VmsandboxError where it fails."""


async def until_started(probe: Probe, check: Check) -> ProbeFailure | None:
    """Probe a container that is starting up, until it has (None) or has failed too often."""
    await asyncio.sleep(probe.initial_delay_seconds)
    failed = 0
    while True:
        error = await _failure(probe, check)
        if error is None:
            return None
        failed += 1
        if failed >= probe.failure_threshold:
            return ProbeFailure(f"startup probe failed: {error}", probe)
        await asyncio.sleep(probe.period_seconds)


async def until_dead(probe: Probe, check: Check) -> ProbeFailure:
    """Probe a container that has started, until it has failed too often in a row."""
    await asyncio.sleep(probe.initial_delay_seconds)
    failed = 0
    while True:
        error = await _failure(probe, check)
        failed = failed + 1 if error else 0
        if failed >= probe.failure_threshold:
            return ProbeFailure(f"liveness probe failed: {error}", probe)
        await asyncio.sleep(probe.period_seconds)


async def _failure(probe: Probe, check: Check) -> VmsandboxError | None:
    try:
        await check(probe)
    except VmsandboxError as error:
        return error
    return None
