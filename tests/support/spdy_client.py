"""Our client over plain SPDY/3.1, as kubectl has spoken it before WebSockets; the command line has no use for it."""

import asyncio
import contextlib
import urllib.parse
from collections.abc import AsyncIterator

from vmsandbox import aio
from vmsandbox.streaming.client import CommandClient, PortForwardClient
from vmsandbox.streaming.client.passing import Passing
from vmsandbox.streaming.listening import close
from vmsandbox.streaming.remotecommand import Wanted
from vmsandbox.streaming.spdy import SpdyConnection
from vmsandbox.streaming.wire import Wire


@contextlib.asynccontextmanager
async def upgraded(url: str, version: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which both speak `version` from now on."""
    parts = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            f"X-Stream-Protocol-Version: {version}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        yield reader, writer
    finally:
        close(writer)


@contextlib.asynccontextmanager
async def command(url: str, wanted: Wanted) -> AsyncIterator[CommandClient]:
    """As `client.command`."""
    async with upgraded(url, "v4.channel.k8s.io") as (reader, writer):
        yield CommandClient(Wire(reader, writer, Passing(SpdyConnection(server=False))), wanted)


@contextlib.asynccontextmanager
async def port_forward(url: str) -> AsyncIterator[PortForwardClient]:
    """As `client.port_forward`."""
    async with upgraded(url, "portforward.k8s.io") as (reader, writer):
        forward = PortForwardClient(Wire(reader, writer, Passing(SpdyConnection(server=False))))
        async with aio.background(forward.run()):
            yield forward
