"""The end of one sandbox's machine, as its containers and their clients learn of it."""

import asyncio
import contextlib

from vmsandbox import aio
from vmsandbox.errors import Unavailable, VmsandboxError
from vmsandbox.sandbox.containers import ContainerContext, SandboxContainers
from vmsandbox.sandbox.machines import Machine

_END_DEADLINE = 15.0
"""Seconds that killed containers have to end; after them the machine ends, and how they ended stays unknown."""

_PATIENCE = 5.0
"""Seconds in which a guest that is to end has to answer at all: in one that does, it takes milliseconds."""


def end_all(context: ContainerContext, containers: SandboxContainers, error: BaseException) -> None:
    """Tell all that runs in a machine that it is gone, and why."""
    context.gone = str(error) or type(error).__name__
    containers.machine_died(error)
    if context.machine is not None:
        context.machine.execs.fail(error)


async def shut_down(context: ContainerContext, containers: SandboxContainers, machine: Machine) -> None:
    """End what runs in a machine. Containers first, so that their ends and their output are known; then the guest.

    A guest that hangs would let each of these steps wait to its deadline, and is ended as it is.
    """
    if context.machine is not None:
        await context.machine.unwatch()
    running = context.usable
    if running is not None and not running.has_failed and await running.answers(_PATIENCE):
        with contextlib.suppress(VmsandboxError, TimeoutError):
            async with asyncio.timeout(_END_DEADLINE):
                await aio.unless(containers.kill(), machine.failure)
        await running.shut_down()
    end_all(context, containers, Unavailable("the sandbox was stopped"))
    await machine.close()
    await containers.settled()
