"""The end of one machine, for whoever waits for its guest."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from vmsandbox import aio
from vmsandbox.errors import Unavailable
from vmsandbox.hypervisor.base import Hypervisor


@contextlib.asynccontextmanager
async def end_of(hypervisor: Hypervisor, name: str) -> AsyncIterator["asyncio.Future[BaseException]"]:
    """A future of the error that says why a machine has ended, should it end within the context; see `aio.unless`."""
    future: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    events = hypervisor.events()

    async def watch() -> None:
        async for event in events:
            if event.name == name and not future.done():
                future.set_result(Unavailable(f"the virtual machine ended: {event.reason}"))

    async with aio.background(watch(), f"watch over {name}"):
        yield future
