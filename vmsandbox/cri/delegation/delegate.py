"""The delegate, as a client speaks to it: in the CRI's messages, since it is to get what our own client said."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri.channel import OPTIONS
from vmsandbox.cri.codes import translated
from vmsandbox.errors import Unavailable

_OPTIONS = (*OPTIONS, ("grpc.max_reconnect_backoff_ms", 1000))
"""A runtime that was restarted is to be found again at once."""


class Delegate:
    """Every call raises what the delegate answered, and Unavailable where it does not answer."""

    def __init__(self, channel: grpc.aio.Channel, socket: Path) -> None:
        """Speak over a channel, which is the caller's; see `connected`."""
        self._channel = channel
        self._socket = socket
        self._runtime = api_pb2_grpc.RuntimeServiceStub(channel)
        self._images = api_pb2_grpc.ImageServiceStub(channel)

    async def call(self, method: str, request: Any, timeout: float | None = None) -> Any:
        """Make a call of either service, by its name in the CRI. Cancelling it cancels it in the delegate."""
        with self._explained(), translated():
            return await self._stub(method)(request, timeout=timeout)

    async def events(self, request: api.GetEventsRequest) -> AsyncGenerator[api.ContainerEventResponse, None]:
        """Yield the delegate's events (GetContainerEvents) until it ends; closing the iterator ends the call."""
        subscription = self._runtime.GetContainerEvents(request)
        try:
            with self._explained(), translated():
                async for event in subscription:
                    yield event
        finally:
            subscription.cancel()

    async def image(self, name_or_id: str) -> api.Image | None:
        """An image that it holds, or None."""
        answer = await self.call("ImageStatus", api.ImageStatusRequest(image=api.ImageSpec(image=name_or_id)))
        return answer.image if answer.HasField("image") else None

    def _stub(self, method: str) -> Any:
        return getattr(self._runtime if hasattr(self._runtime, method) else self._images, method)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say which runtime it is that cannot be reached."""
        try:
            yield
        except Unavailable as error:
            if self._channel.get_state() is grpc.ChannelConnectivity.READY:
                raise
            raise Unavailable(
                f"the delegate runtime does not answer at {self._socket}",
                hint="start it, or correct delegate.socket in config.yaml",
                evidence={"gRPC": str(error)},
            ) from None


@contextlib.asynccontextmanager
async def connected(socket: Path) -> AsyncIterator[Delegate]:
    """A delegate, while the context lasts; it need not be there yet, and may come and go."""
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS) as channel:
        yield Delegate(channel, socket)
