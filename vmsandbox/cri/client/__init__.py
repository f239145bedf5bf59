"""A client of the daemon: the CRI's calls in the model's words, for the command line.

Client have the names of `vmsandbox.service.RuntimeService` where they do the same. Cancelling one cancels it in the
daemon. What the daemon refuses is raised as the error of `vmsandbox.errors` that it was there.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.channel import OPTIONS
from vmsandbox.cri.client.base import inspected
from vmsandbox.cri.client.events import EventClient
from vmsandbox.cri.client.images import ImageClient
from vmsandbox.cri.client.sandboxes import SandboxClient
from vmsandbox.cri.client.streams import StreamClient
from vmsandbox.cri.codes import translated
from vmsandbox.errors import Unavailable
from vmsandbox.protocol.codec import JSON

CONNECT_TIMEOUT = 5.0
"""Seconds in which a daemon that lives takes a connection."""


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator["CriClient"]:
    """A client of the daemon that serves the socket; the connection lasts as long as the context.

    Raises:
        Unavailable: no daemon answers there.
    """
    async with grpc.aio.insecure_channel(f"unix:{path}", options=OPTIONS) as channel:
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


class CriClient(SandboxClient, EventClient, StreamClient):
    """See the module. Every call raises what the daemon raised, and Unavailable where the daemon has gone."""

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
