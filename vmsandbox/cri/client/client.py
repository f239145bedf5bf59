"""The client itself: its connection, its calls about the runtime, and its images."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri import CHANNEL_OPTIONS
from vmsandbox.cri.client.base import inspected
from vmsandbox.cri.client.events import EventClient
from vmsandbox.cri.client.sandboxes import SandboxClient
from vmsandbox.cri.codes import translated
from vmsandbox.cri.convert import image_from_cri, registry_auth_to_cri
from vmsandbox.errors import NotFound, Unavailable
from vmsandbox.model import Image, RegistryAuth
from vmsandbox.protocol.codec import JSON

CONNECT_TIMEOUT = 5.0
"""Seconds in which a daemon that lives takes a connection."""


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator["CriClient"]:
    """A client of the daemon that serves the socket; the connection lasts as long as the context.

    Raises:
        Unavailable: no daemon answers there.
    """
    async with grpc.aio.insecure_channel(f"unix:{path}", options=CHANNEL_OPTIONS) as channel:
        try:
            async with asyncio.timeout(_patience(path)):
                await channel.channel_ready()
        except TimeoutError:
            raise Unavailable(f"no daemon serves {path}", hint="start it: `vmsandbox serve`") from None
        yield CriClient(channel)


def _patience(path: Path) -> float:
    """A socket that is not there need not be waited for."""
    return CONNECT_TIMEOUT if path.exists() else 0


@contextlib.asynccontextmanager
async def connected_if_served(path: Path) -> AsyncIterator["CriClient | None"]:
    """Connect to the daemon, like `connected`; yield None if no daemon listens on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(os.fspath(path)) != 0:
            yield None
            return
    async with connected(path) as client:
        yield client


class CriClient(SandboxClient, EventClient):
    """See the package. Every call raises what the daemon raised, and Unavailable where the daemon has gone."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Speak over a channel, which is the caller's; see `connected`."""
        super().__init__(channel)
        self.images = ImageClient(channel)

    async def version(self) -> str:
        """Name and version of the runtime."""
        with translated():
            response = await self._runtime.Version(api.VersionRequest())
        return f"{response.runtime_name} {response.runtime_version}"

    async def status(self) -> JSON:
        """The conditions, handlers and features of the runtime, and its configuration, as a JSON document."""
        with translated():
            response = await self._runtime.Status(api.StatusRequest(verbose=True))
        return inspected(response)


class ImageClient:
    """The images of a daemon. Every call raises what the daemon raised."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Speak over a channel, which is the caller's."""
        self._images = api_pb2_grpc.ImageServiceStub(channel)

    async def list(self) -> tuple[Image, ...]:
        """All images."""
        with translated():
            response = await self._images.ListImages(api.ListImagesRequest())
        return tuple(map(image_from_cri, response.images))

    async def find(self, name_or_id: str, handler: str = "") -> Image | None:
        """An image; None: not held. With a RuntimeClass handler, held by the runtime that serves it."""
        request = api.ImageStatusRequest(image=api.ImageSpec(image=name_or_id, runtime_handler=handler))
        with translated():
            response = await self._images.ImageStatus(request)
        return image_from_cri(response.image) if response.HasField("image") else None

    async def pull(self, name: str, auth: RegistryAuth | None = None, handler: str = "") -> Image:
        """Pull an image, for the runtime that serves a RuntimeClass handler."""
        request = api.PullImageRequest(image=api.ImageSpec(image=name, runtime_handler=handler))
        if auth is not None:
            request.auth.CopyFrom(registry_auth_to_cri(auth))
        with translated():
            response = await self._images.PullImage(request)
        pulled = await self.find(response.image_ref, handler)
        if pulled is None:
            raise NotFound(f"image {name} was removed right after it was pulled")
        return pulled

    async def remove(self, name_or_id: str) -> None:
        """Remove an image with all its names; does nothing where it is not held."""
        with translated():
            await self._images.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=name_or_id)))
