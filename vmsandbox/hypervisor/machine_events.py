"""The states of a machine, and the events by which it leaves that of running."""

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass

from vmsandbox import aio
from vmsandbox.errors import Unavailable

DESTROYED = "destroyed"
"""The reason of the end of a machine that libvirt was asked to end."""


class MachineState(enum.Enum):
    """The state of a domain; GONE if libvirt does not know the name."""

    RUNNING = "running"
    CRASHED = "crashed"
    STOPPED = "stopped"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class MachineEvent:
    """A machine left the running state."""

    name: str
    state: MachineState
    reason: str
    """In libvirt's words: destroyed, crashed (panicked), failed, shutdown."""

    @property
    def by_itself(self) -> bool:
        """Whether the guest or its QEMU ended the machine, and not a caller of `destroy`."""
        return self.reason != DESTROYED


@contextlib.asynccontextmanager
async def end_of(events: AsyncIterator[MachineEvent], name: str) -> AsyncIterator["asyncio.Future[BaseException]"]:
    """A future of the error that says why a machine has ended, should it end within the context; see `aio.unless`.

    Args:
        events: of its hypervisor, from now on.
        name: of the machine.
    """
    future: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def watch() -> None:
        async for event in events:
            if event.name == name and not future.done():
                future.set_result(Unavailable(f"the virtual machine ended: {event.reason}"))

    async with aio.background(watch(), f"watch over {name}"):
        yield future
