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


async def stop(context: ContainerContext, keeper: RecordKeeper, timeout: float) -> None:
    """Stop a container, see `Container.stop`. The agent reports its end, which the keeper records."""
    record = keeper.record
    if record.state not in (ContainerState.CREATED, ContainerState.RUNNING):
        return
    if timeout > 0 and record.state is ContainerState.RUNNING:
        await _signal(context, keeper, stop_signal(record.config, record.image_config))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await keeper.ended.wait()
    if not keeper.ended.is_set():
        await _kill(context, keeper)


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
