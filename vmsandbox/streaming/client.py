"""The client's end of exec, attach and port-forward, for our own command line.

A command is spoken over WebSocket channels (v5, else v4), port-forward over SPDY in a WebSocket. What to do with a
terminal is the caller's.
"""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from vmsandbox.errors import FailedPrecondition, Internal, Unavailable
from vmsandbox.model import Output
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming import portforward, remotecommand
from vmsandbox.streaming import status as statuses
from vmsandbox.streaming.channels import WebSocketChannels
from vmsandbox.streaming.dialling import dial
from vmsandbox.streaming.listening import close
from vmsandbox.streaming.multiplexer import Closed, Data, Ended, Event, Failed, Multiplexer, Reset
from vmsandbox.streaming.pipe import Pipe
from vmsandbox.streaming.remotecommand import ERROR, RESIZE, STREAM_TYPE, Wanted
from vmsandbox.streaming.resize import TerminalSize
from vmsandbox.streaming.subprotocols import COMMAND_CHANNELS, WEBSOCKET_COMMANDS, WEBSOCKET_PORTS
from vmsandbox.streaming.tunnel import Tunnel
from vmsandbox.streaming.wire import ClientGone, Wire

_COMMANDS = {version.name: version for version in WEBSOCKET_COMMANDS if version.name.startswith(("v5.c", "v4.c"))}
_TUNNEL = WEBSOCKET_PORTS[0].name
_GONE = "the streaming server hung up"


class _Client:
    """A multiplexer as the machine of a `Wire`: its events are passed on as they are."""

    def __init__(self, multiplexer: Multiplexer) -> None:
        self.multiplexer = multiplexer
        self.over = False

    def receive(self, data: bytes) -> list[Event]:
        events = self.multiplexer.receive(data)
        self.over = self.over or any(isinstance(event, Closed | Failed) for event in events)
        return events

    def take_output(self) -> bytes:
        return self.multiplexer.output()

    def heartbeat(self) -> None:
        self.multiplexer.heartbeat()


class CommandClient:
    """A command that runs, or a container that is attached to. `command` makes it."""

    def __init__(self, wire: Wire[_Client], wanted: Wanted) -> None:
        """Speak on a connection that is upgraded."""
        self._wire = wire
        self._numbers = {kind: COMMAND_CHANNELS[kind] for kind in wanted.types(resize=True)}
        self._status = bytearray()

    async def output(self) -> AsyncIterator[Output]:
        """What is printed, to the end. Slow iteration holds the process back. Raises Unavailable."""
        streams = {self._numbers[s.value]: s for s in (Stream.STDOUT, Stream.STDERR) if s.value in self._numbers}
        try:
            async for event in self._wire.events():
                match event:
                    case Data(number, data) if number in streams:
                        yield Output(streams[number], data)
                    case Data(number, data) if number == self._numbers[ERROR]:
                        self._take_status(data)
                    case Failed(reason):
                        raise Unavailable(f"{_GONE}: {reason}")
        except ClientGone as error:
            raise Unavailable(f"{_GONE}: {error}") from None

    @property
    def exit_code(self) -> int:
        """How it ended, when the output has ended.

        Raises:
            Unavailable: the server went without saying it.
            Internal: what it said is no status.
            FailedPrecondition: the command could not be run, or was lost; the message says why.
        """
        if not self._status:
            raise Unavailable(f"{_GONE} before the command ended")
        status = statuses.decode(bytes(self._status))
        if status.exit_code is None:
            raise FailedPrecondition(status.message)
        return status.exit_code

    async def write(self, data: bytes) -> None:
        """Send standard input, waiting while it is not taken. Raises Unavailable."""
        await self._send("stdin", data)

    async def close_stdin(self) -> None:
        """Say that the input has ended. Raises Unavailable."""
        self._wire.machine.multiplexer.end(self._numbers["stdin"])
        await self._flush()

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the size of the window; without a terminal nothing happens. Raises Unavailable."""
        if RESIZE in self._numbers:
            await self._send(RESIZE, TerminalSize(columns, rows).encode())

    def _take_status(self, data: bytes) -> None:
        self._status += data
        if len(self._status) > statuses.STATUS_LIMIT:
            raise Internal("the server's error stream does not end")

    async def _send(self, kind: str, data: bytes) -> None:
        self._wire.machine.multiplexer.send(self._numbers[kind], data)
        await self._flush()

    async def _flush(self) -> None:
        try:
            await self._wire.flush()
        except ClientGone as error:
            raise Unavailable(f"{_GONE}: {error}") from None


@contextlib.asynccontextmanager
async def command(url: str, wanted: Wanted, tls: ssl.SSLContext | None = None) -> AsyncIterator[CommandClient]:
    """Run the command, or attach to the container, of a URL. Leaving the context hangs up.

    Args:
        url: as the CRI's Exec or Attach gave it.
        wanted: the streams that it was asked for with.
        tls: see `dialling.dial`.

    Raises:
        VmsandboxError: as `dialling.dial`.
    """
    reader, writer, name = await dial(url, tuple(_COMMANDS), tls)
    try:
        version = _COMMANDS.get(name)
        if version is None or version.channels is None:
            raise Internal(f"the streaming server chose {name!r}, which was not offered")
        channels = WebSocketChannels(version.channels, remotecommand.channel_headers(wanted), server=False)
        yield CommandClient(Wire(reader, writer, _Client(channels)), wanted)
    finally:
        close(writer)


@dataclass(slots=True)
class _Connection:
    """The streams of one connection to a port, as they come in."""

    data: Pipe = field(default_factory=Pipe)
    error: bytearray = field(default_factory=bytearray)
    """What the server says of a failure, which comes before the end of the data."""


class PortConnection:
    """One connection to a port of the pod."""

    def __init__(self, owner: "PortForwardClient", port: int, data: int, connection: _Connection) -> None:
        """`PortForwardClient.connect` calls this."""
        self._owner = owner
        self._port = port
        self._data = data
        self._connection = connection

    async def read(self) -> bytes:
        """The next bytes, or none at the end. Raises Unavailable where the port cannot be had, or is lost."""
        if data := await self._connection.data.get():
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

    def __init__(self, wire: Wire[_Client]) -> None:
        """Speak on a connection that is upgraded."""
        self._wire = wire
        self._requests = itertools.count()
        self._streams: dict[int, tuple[_Connection, str]] = {}
        self._lost = ""

    @contextlib.asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[PortConnection]:
        """A connection to a port. Whether somebody listens there shows when it is read from. Raises Unavailable."""
        self._check_alive()
        multiplexer, connection = self._wire.machine.multiplexer, _Connection()
        headers = {portforward.PORT: str(port), portforward.REQUEST_ID: str(next(self._requests))}
        error = multiplexer.open({STREAM_TYPE: portforward.ERROR, **headers})
        multiplexer.end(error)
        data = multiplexer.open({STREAM_TYPE: portforward.DATA, **headers})
        self._streams |= {error: (connection, portforward.ERROR), data: (connection, portforward.DATA)}
        self._wire.flush_soon()
        try:
            yield PortConnection(self, port, data, connection)
        finally:
            for number in (error, data):
                del self._streams[number]
                multiplexer.reset(number)
            multiplexer.consumed(data, connection.data.size)
            self._wire.flush_soon()

    async def run(self) -> None:
        """Take in what the server sends, until it hangs up; then every connection ends with Unavailable."""
        try:
            async for event in self._wire.events():
                await self._take(event)
            self._lost = _GONE
        except ClientGone as error:
            self._lost = f"{_GONE}: {error}"
        finally:
            self._lost = self._lost or "it was closed"
            for connection, _ in self._streams.values():
                connection.error += b"" if connection.error else self._lost.encode()
                connection.data.end()

    def consumed(self, stream: int, count: int) -> None:
        """Let the server send on."""
        self._wire.machine.multiplexer.consumed(stream, count)
        self._wire.flush_soon()

    async def deliver(self, stream: int, data: bytes) -> None:
        """Send data as the server takes it. Raises Unavailable."""
        self._check_alive()
        multiplexer = self._wire.machine.multiplexer
        try:
            await self._wire.deliver(
                data, lambda: multiplexer.room(stream), lambda part: multiplexer.send(stream, part)
            )
        except ClientGone as error:
            raise Unavailable(f"{_GONE}: {error}") from None

    def end(self, stream: int) -> None:
        """Half close a stream. Raises Unavailable."""
        self._check_alive()
        self._wire.machine.multiplexer.end(stream)
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
        if connection is not None and kind == portforward.DATA:
            connection.error += b"" if connection.error else reason.encode()
            connection.data.end()

    async def _take_data(self, number: int, data: bytes) -> None:
        connection, kind = self._streams.get(number, (None, ""))
        if connection is None or kind == portforward.ERROR:
            if connection is not None and len(connection.error) < statuses.STATUS_LIMIT:
                connection.error += data
            self._wire.machine.multiplexer.consumed(number, len(data))
            return
        connection.data.put(data)
        if connection.data.full:
            await self._wire.hold(connection.data.drained())

    def _check_alive(self) -> None:
        if self._lost:
            raise Unavailable(self._lost)


@contextlib.asynccontextmanager
async def port_forward(url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[PortForwardClient]:
    """Forward ports of the pod of a URL. Leaving the context hangs up.

    Raises:
        VmsandboxError: as `dialling.dial`.
    """
    reader, writer, name = await dial(url, (_TUNNEL,), tls)
    try:
        if name != _TUNNEL:
            raise Internal(f"the streaming server chose {name!r}, which was not offered")
        client = PortForwardClient(Wire(reader, writer, _Client(Tunnel(server=False))))
        running = asyncio.create_task(client.run(), name="port-forward")
        try:
            yield client
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    finally:
        close(writer)
