"""Our client over plain SPDY/3.1, as kubectl has spoken it before WebSockets; the command line has no use for it.

With a `WindowlessSession` it also sends like the clients of Kubernetes.
"""

import asyncio
import contextlib
import urllib.parse
from collections.abc import AsyncIterator

from vmsandbox import aio
from vmsandbox.streaming.client import CommandClient, PortForwardClient, Wanted
from vmsandbox.streaming.io.sockets import close
from vmsandbox.streaming.io.wire import Wire
from vmsandbox.streaming.protocol.multiplexer import UNBOUNDED
from vmsandbox.streaming.protocol.spdy import SpdyConnection
from vmsandbox.streaming.protocol.stream_protocol import ClientProtocol


class WindowlessSession(SpdyConnection):
    """A client that knows no windows: it announces none, credits nothing and is not held back."""

    def __init__(self) -> None:
        super().__init__(server=False)
        self._announcement = b""

    def room(self, stream: int) -> int:
        found = self._streams.get(stream)
        return UNBOUNDED if found is None or found.replied else 0

    def consumed(self, stream: int, count: int) -> None:
        pass


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
    """Run a command; see `client.command`."""
    async with upgraded(url, "v4.channel.k8s.io") as (reader, writer):
        yield CommandClient(Wire(reader, writer, ClientProtocol(SpdyConnection(server=False))), wanted)


@contextlib.asynccontextmanager
async def port_forward(url: str, session: SpdyConnection | None = None) -> AsyncIterator[PortForwardClient]:
    """Forward ports, see `client.port_forward`; over a session of its own if none is given."""
    async with upgraded(url, "portforward.k8s.io") as (reader, writer):
        forward = PortForwardClient(Wire(reader, writer, ClientProtocol(session or SpdyConnection(server=False))))
        async with aio.background(forward.run()):
            yield forward
