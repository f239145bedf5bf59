"""How a container is made to end: asked by its signal, and killed when it does not."""

import asyncio
import contextlib
import signal

from vmsandbox.errors import DeadlineExceeded, NotFound, VmsandboxError
from vmsandbox.model import ContainerState
from vmsandbox.sandbox.containers.context import ContainerContext
from vmsandbox.sandbox.containers.record_keeper import RecordKeeper
from vmsandbox.sandbox.spec import stop_signal

KILL_DEADLINE = 30.0
"""Seconds in which a killed container has to end; only a process stuck in the guest's kernel does not."""


_LIVE = (ContainerState.CREATED, ContainerState.RUNNING)


async def stop(context: ContainerContext, keeper: RecordKeeper, timeout: float) -> None:
    """Stop a container, see `Container.stop`. The agent reports its end, which the keeper records."""
    if keeper.record.state not in _LIVE:
        return
    await ask(context, keeper, timeout)
    if not keeper.ended.is_set():
        await _kill(context, keeper)


async def ask(context: ContainerContext, keeper: RecordKeeper, timeout: float) -> None:
    """Send a container its signal and wait until it has ended, `timeout` seconds for both together (0: neither).

    One that was only created has no program to ask, and is killed. A guest that hangs does not take the signal either.

    Raises:
        VmsandboxError: the guest refuses the signal.
    """
    record = keeper.record
    if timeout <= 0 or record.state not in _LIVE:
        return
    created = record.state is ContainerState.CREATED
    number = signal.SIGKILL if created else stop_signal(record.config, record.image_config)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await _signal(context, keeper, number, everyone=created)
            await keeper.ended.wait()


async def _signal(context: ContainerContext, keeper: RecordKeeper, number: int, *, everyone: bool = False) -> None:
    try:
        await context.running().client.signal_container(keeper.record.id, number, everyone=everyone)
    except NotFound:
        keeper.lost("ContainerLost", "the container is not in its machine any more")
    except VmsandboxError:
        if not keeper.ended.is_set():
            raise


async def _kill(context: ContainerContext, keeper: RecordKeeper) -> None:
    await _signal(context, keeper, signal.SIGKILL, everyone=True)
    try:
        async with asyncio.timeout(KILL_DEADLINE):
            await keeper.ended.wait()
    except TimeoutError:
        raise DeadlineExceeded(
            f"container {keeper.record.id} did not end within {KILL_DEADLINE:g} s of being killed"
        ) from None
