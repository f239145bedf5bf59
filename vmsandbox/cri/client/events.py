"""Events of the daemon, received by its client."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc.aio
from cri_api.v1 import api_pb2 as api

from vmsandbox import aio
from vmsandbox.cri.client.containers import ContainerClient
from vmsandbox.cri.codes import translated
from vmsandbox.cri.convert import event_from_cri
from vmsandbox.errors import Unavailable, Unimplemented
from vmsandbox.model import ContainerEvent, ContainerState, ContainerStatus

LOOK_INTERVAL = 0.5
"""Seconds between looks at a container whose runtime gives no events."""
LOOK_AGAIN = 5.0
"""Seconds without an event after which a container is looked at: its runtime may have ended, and others go on."""


class EventClient(ContainerClient):
    """See the package."""

    async def events(self) -> AsyncGenerator[ContainerEvent, None]:
        """Yield events of sandboxes and containers from now on. Raises Unavailable when the daemon ends."""
        async with self._subscribed() as events:
            async for event in events:
                yield event

    async def wait_container(self, container_id: str) -> ContainerStatus:
        """The status of a container, when it has ended."""
        try:
            return await self._end_by_events(container_id)
        except Unimplemented:  # a delegate of the daemon's gives none
            return await self._end_by_looking(container_id)

    async def _end_by_events(self, container_id: str) -> ContainerStatus:
        told = asyncio.Event()
        async with self._subscribed() as events:
            status = await self.container_status(container_id)
            async with aio.background(_tell(events, {status.id, status.sandbox_id}, told)) as telling:
                while status.state is not ContainerState.EXITED:
                    await _first(telling, told)
                    status = await self.container_status(container_id)
        return status

    async def _end_by_looking(self, container_id: str) -> ContainerStatus:
        while (status := await self.container_status(container_id)).state is not ContainerState.EXITED:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_INTERVAL)
        return status

    @contextlib.asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[AsyncIterator[ContainerEvent]]:
        """The events; in the body none is missed any more."""
        call = self._runtime.GetContainerEvents(api.GetEventsRequest())
        try:
            with translated():
                await call.initial_metadata()
            yield _events(call)
        finally:
            call.cancel()


async def _tell(events: AsyncIterator[ContainerEvent], ids: set[str], told: asyncio.Event) -> None:
    async for event in events:
        if event.container_id in ids:
            told.set()


async def _first(telling: "asyncio.Task[None]", told: asyncio.Event) -> None:
    """Wait until an event was told, for `LOOK_AGAIN` seconds at most. Raises the error that has ended the events."""
    async with aio.background(told.wait()) as hearing:
        both: set[asyncio.Task[Any]] = {telling, hearing}
        await asyncio.wait(both, timeout=LOOK_AGAIN, return_when=asyncio.FIRST_COMPLETED)
    if telling.done():
        telling.result()
    told.clear()


async def _events(
    call: "grpc.aio.UnaryStreamCall[api.GetEventsRequest, api.ContainerEventResponse]",
) -> AsyncIterator[ContainerEvent]:
    with translated():
        async for wire in call:
            yield event_from_cri(wire)
    raise Unavailable("the daemon ended the stream of events")
