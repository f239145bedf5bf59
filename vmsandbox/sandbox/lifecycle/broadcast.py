"""Events of sandboxes and containers for every listener (CRI GetContainerEvents)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from vmsandbox.model import ContainerEvent

EVENTS_AHEAD = 1024
"""Events that wait for a listener; one who is further behind misses the newest."""


class Broadcast:
    """Events and their listeners; nobody waits for a slow one."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self._listeners: set[asyncio.Queue[ContainerEvent]] = set()

    def publish(self, event: ContainerEvent) -> None:
        """Tell everyone who listens now."""
        for queue in self._listeners:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(event)

    def listen(self) -> AsyncGenerator[ContainerEvent, None]:
        """The events from this call on (not from the first step of the iteration)."""
        queue: asyncio.Queue[ContainerEvent] = asyncio.Queue(EVENTS_AHEAD)
        self._listeners.add(queue)
        return self._drain(queue)

    async def _drain(self, queue: asyncio.Queue[ContainerEvent]) -> AsyncGenerator[ContainerEvent, None]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)
