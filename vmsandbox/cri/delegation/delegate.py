"""The delegate, as a client speaks to it: in the CRI's messages, since it is to get what our own client said."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox.config import DelegateConfig
from vmsandbox.cri import CHANNEL_OPTIONS
from vmsandbox.cri.codes import translated
from vmsandbox.errors import Unavailable, VmsandboxError
from vmsandbox.model import Finding

_OPTIONS = (*CHANNEL_OPTIONS, ("grpc.max_reconnect_backoff_ms", 1000))
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


ANSWER_TIMEOUT = 5.0
"""Seconds in which a runtime that lives says its version."""


async def look_at_delegate(config: DelegateConfig) -> tuple[Finding, ...]:
    """Whether the configured delegate answers, and what it is for; nothing where none is configured."""
    if config.socket is None:
        return ()
    try:
        async with connected(config.socket) as delegate:
            version = await delegate.call("Version", api.VersionRequest(), ANSWER_TIMEOUT)
    except VmsandboxError as error:
        return (Finding(False, str(error), error.hint),)
    return (Finding(True, f"{version.runtime_name} {version.runtime_version} runs {_whose(config)}"),)


def _whose(config: DelegateConfig) -> str:
    whose = [
        f"RuntimeClass handler {handler}" if handler else "pods without RuntimeClass" for handler in config.handlers
    ]
    if config.host_namespaces:
        wanted = "/".join(namespace.value for namespace in config.host_namespaces)
        whose.append(f"pods without RuntimeClass in the host's {wanted}")
    return ", ".join(whose) or "no pods"
