"""Events of the daemon, received by its client."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import grpc.aio
from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.client.containers import ContainerClient
from vmsandbox.cri.codes import translated
from vmsandbox.cri.convert import event_from_cri
from vmsandbox.errors import Unavailable, Unimplemented
from vmsandbox.model import ContainerEvent, ContainerState, ContainerStatus

LOOK_INTERVAL = 0.5
"""Seconds between looks at a container whose runtime gives no events."""


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
        async with self._subscribed() as events:
            status = await self.container_status(container_id)
            while status.state is not ContainerState.EXITED:
                if (await anext(events)).container_id in (status.id, status.sandbox_id):
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


async def _events(
    call: "grpc.aio.UnaryStreamCall[api.GetEventsRequest, api.ContainerEventResponse]",
) -> AsyncIterator[ContainerEvent]:
    with translated():
        async for wire in call:
            yield event_from_cri(wire)
    raise Unavailable("the daemon ended the stream of events")
