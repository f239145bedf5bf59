"""The client of port-forward: connections to ports of a pod, over SPDY in one WebSocket."""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from vmsandbox import aio
from vmsandbox.errors import Unavailable
from vmsandbox.streaming.client.dialling import GONE, dial
from vmsandbox.streaming.io import Backlog, ByteQueue, ClientGone, Wire, close
from vmsandbox.streaming.protocol import (
    DATA,
    ERROR,
    PORTS_OFFERED,
    STATUS_LIMIT,
    ClientProtocol,
    Data,
    Ended,
    Event,
    Failed,
    Reset,
    pair_headers,
    ports_client,
)

_UNREAD_LIMIT = 8 * 1024 * 1024
"""Bytes that may wait for the readers of all connections: the windows of as many as the server lets a client have."""


@dataclass(slots=True)
class _Connection:
    """The streams of one connection to a port, as they come in."""

    data: ByteQueue
    error: bytearray = field(default_factory=bytearray)
    """The server's text about a failure, which comes before the end of the data."""


class PortConnection:
    """One connection to a port of the pod."""

    def __init__(self, owner: "PortForwardClient", port: int, data: int, connection: _Connection) -> None:
        """`PortForwardClient.connect` calls this."""
        self._owner = owner
        self._port = port
        self._data = data
        self._connection = connection

    async def read(self) -> bytes:
        """Return the next bytes, or none at the end. Raises Unavailable when the port is unreachable or lost."""
        if data := await self._connection.data.get():
            self._connection.data.consumed(len(data))
            self._owner.consumed(self._data, len(data))
            return data
        if self._connection.error:
            text = self._connection.error.decode("utf-8", "replace")
            raise Unavailable(f"port {self._port} cannot be reached", evidence={"the server says": text})
        return b""

    async def write(self, data: bytes) -> None:
        """Send bytes, waiting while they are not taken. Raises Unavailable."""
        await self._owner.deliver(self._data, data)

    async def close_write(self) -> None:
        """Half close. Raises Unavailable."""
        self._owner.end(self._data)


class PortForwardClient:
    """Connections to ports of a pod, over one connection to the server. `port_forward` makes it."""

    def __init__(self, wire: Wire[ClientProtocol]) -> None:
        """Speak on a connection that is upgraded."""
        self._wire = wire
        self._requests = itertools.count()
        self._backlog = Backlog(_UNREAD_LIMIT)
        self._streams: dict[int, tuple[_Connection, str]] = {}
        self._lost = ""
        self._over = asyncio.Event()

    async def lost(self) -> None:
        """Wait for the end of the connection to the server. Raises Unavailable, with the reason."""
        await self._over.wait()
        self._check_alive()

    @contextlib.asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[PortConnection]:
        """Open a connection to a port. A port where nobody listens shows when it is read from. Raises Unavailable."""
        self._check_alive()
        multiplexer, connection = self._wire.protocol.multiplexer, _Connection(ByteQueue(self._backlog))
        request = next(self._requests)
        error = multiplexer.open(pair_headers(ERROR, port, request))
        multiplexer.end(error)
        data = multiplexer.open(pair_headers(DATA, port, request))
        self._streams |= {error: (connection, ERROR), data: (connection, DATA)}
        self._wire.flush_soon()
        try:
            yield PortConnection(self, port, data, connection)
        finally:
            for number in (error, data):
                del self._streams[number]
                multiplexer.reset(number)
            multiplexer.consumed(data, connection.data.discard())
            self._wire.flush_soon()

    async def run(self) -> None:
        """Take in what the server sends, until it hangs up; then every connection ends with Unavailable."""
        try:
            async for event in self._wire.events():
                await self._take(event)
            self._lost = GONE
        except ClientGone as error:
            self._lost = f"{GONE}: {error}"
        finally:
            self._lost = self._lost or "it was closed"
            for connection, _ in self._streams.values():
                connection.error += b"" if connection.error else self._lost.encode()
                connection.data.end()
            self._over.set()

    def consumed(self, stream: int, count: int) -> None:
        """Let the server send on."""
        self._wire.protocol.multiplexer.consumed(stream, count)
        self._wire.flush_soon()

    async def deliver(self, stream: int, data: bytes) -> None:
        """Send data as the server takes it. Raises Unavailable."""
        self._check_alive()
        multiplexer = self._wire.protocol.multiplexer
        try:
            await self._wire.deliver(
                data, lambda: multiplexer.room(stream), lambda part: multiplexer.send(stream, part)
            )
        except ClientGone as error:
            raise Unavailable(f"{GONE}: {error}") from None

    def end(self, stream: int) -> None:
        """Half close a stream. Raises Unavailable."""
        self._check_alive()
        self._wire.protocol.multiplexer.end(stream)
        self._wire.flush_soon()

    async def _take(self, event: Event) -> None:
        match event:
            case Data(number, data):
                await self._take_data(number, data)
            case Ended(number):
                self._end_data(number)
            case Reset(number):
                self._end_data(number, "the connection was reset")
            case Failed(reason):
                raise ClientGone(reason)

    def _end_data(self, number: int, reason: str = "") -> None:
        connection, kind = self._streams.get(number, (None, ""))
        if connection is not None and kind == DATA:
            connection.error += b"" if connection.error else reason.encode()
            connection.data.end()

    async def _take_data(self, number: int, data: bytes) -> None:
        connection, kind = self._streams.get(number, (None, ""))
        if connection is None or kind == ERROR:
            if connection is not None and len(connection.error) < STATUS_LIMIT:
                connection.error += data
            self._wire.protocol.multiplexer.consumed(number, len(data))
            return
        connection.data.put(data)
        if self._backlog.full:
            await self._wire.hold(self._backlog.fits())

    def _check_alive(self) -> None:
        if self._lost:
            raise Unavailable(self._lost)


@contextlib.asynccontextmanager
async def port_forward(url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[PortForwardClient]:
    """Forward ports of the pod of a URL. Leaving the context hangs up.

    Raises:
        VmsandboxError: as `dialling.dial`.
    """
    reader, writer, version = await dial(url, PORTS_OFFERED, tls)
    try:
        client = PortForwardClient(Wire(reader, writer, ports_client(version)))
        async with aio.background(client.run(), "port-forward"):
            yield client
    finally:
        close(writer)
