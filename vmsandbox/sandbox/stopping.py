"""How a container is made to end: asked by its signal, and killed when it does not."""

import asyncio
import contextlib
import signal

from vmsandbox.errors import DeadlineExceeded, NotFound, VmsandboxError
from vmsandbox.model import ContainerState
from vmsandbox.sandbox.journal import Journal
from vmsandbox.sandbox.signals import stop_signal
from vmsandbox.sandbox.surroundings import Surroundings

KILL_DEADLINE = 30.0
"""Seconds in which a killed container has to end; only a process stuck in the guest's kernel does not."""


async def stop(around: Surroundings, journal: Journal, timeout: float) -> None:
    """As `Container.stop`; that it has ended comes from the agent, by way of the journal."""
    record = journal.record
    if record.state not in (ContainerState.CREATED, ContainerState.RUNNING):
        return
    if timeout > 0 and record.state is ContainerState.RUNNING:
        await _signal(around, journal, stop_signal(record.config, record.image_config))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await journal.ended.wait()
    if not journal.ended.is_set():
        await _kill(around, journal)


async def _signal(around: Surroundings, journal: Journal, number: int, *, everyone: bool = False) -> None:
    try:
        await around.running().client.signal_container(journal.record.id, number, everyone=everyone)
    except NotFound:
        journal.lost("ContainerLost", "the machine does not have the container any more")
    except VmsandboxError:
        if not journal.ended.is_set():
            raise


async def _kill(around: Surroundings, journal: Journal) -> None:
    await _signal(around, journal, signal.SIGKILL, everyone=True)
    try:
        async with asyncio.timeout(KILL_DEADLINE):
            await journal.ended.wait()
    except TimeoutError:
        raise DeadlineExceeded(
            f"container {journal.record.id} did not end within {KILL_DEADLINE:g} s of being killed"
        ) from None
