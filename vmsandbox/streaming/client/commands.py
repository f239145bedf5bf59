"""The client of exec and attach: a command over WebSocket channels (v5, else v4). Terminals are the caller's."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable

from vmsandbox.errors import FailedPrecondition, Internal, Unavailable
from vmsandbox.model import Output
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming.client.dialling import GONE, dial
from vmsandbox.streaming.io import ClientGone, Wire, close
from vmsandbox.streaming.protocol import (
    COMMANDS_OFFERED,
    ERROR,
    RESIZE,
    STATUS_LIMIT,
    ClientProtocol,
    CommandStatus,
    Data,
    Failed,
    TerminalSize,
    Wanted,
    command_client,
    stream_headers,
)


class CommandClient:
    """A command that runs, or a container that is attached to. `command` makes it."""

    def __init__(self, wire: Wire[ClientProtocol], wanted: Wanted) -> None:
        """Speak on a connection that is upgraded, over any multiplexer."""
        self._wire = wire
        multiplexer = wire.protocol.multiplexer
        self._numbers = {kind: multiplexer.open(stream_headers(kind)) for kind in wanted.types(resize=True)}
        self._status = bytearray()

    async def output(self) -> AsyncIterator[Output]:
        """Yield what the process prints, to its end. Slow iteration holds the process back. Raises Unavailable."""
        streams = {self._numbers[s.value]: s for s in (Stream.STDOUT, Stream.STDERR) if s.value in self._numbers}
        try:
            async for event in self._wire.events():
                match event:
                    case Data(number, data) if number in streams:
                        yield Output(streams[number], data)
                        self._consumed(number, len(data))
                    case Data(number, data) if number == self._numbers[ERROR]:
                        self._take_status(data)
                        self._consumed(number, len(data))
                    case Failed(reason):
                        raise Unavailable(f"{GONE}: {reason}")
        except ClientGone as error:
            raise Unavailable(f"{GONE}: {error}") from None

    @property
    def exit_code(self) -> int:
        """The exit code, once the output has ended.

        Raises:
            Unavailable: the server went without saying it.
            Internal: the error stream does not hold a status.
            FailedPrecondition: the command could not be run, or was lost; the message says why.
        """
        if not self._status:
            raise Unavailable(f"{GONE} before the command ended")
        status = CommandStatus.decode(bytes(self._status))
        if status.exit_code is None:
            raise FailedPrecondition(status.message)
        return status.exit_code

    async def write(self, data: bytes) -> None:
        """Send standard input, waiting while it is not taken. Raises Unavailable."""
        await self._send("stdin", data)

    async def close_stdin(self) -> None:
        """Say that the input has ended. Raises Unavailable."""
        self._wire.protocol.multiplexer.end(self._numbers["stdin"])
        await _unless_gone(self._wire.flush())

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the size of the window; without a terminal nothing happens. Raises Unavailable."""
        if RESIZE in self._numbers:
            await self._send(RESIZE, TerminalSize(columns, rows).encode())

    def _take_status(self, data: bytes) -> None:
        self._status += data
        if len(self._status) > STATUS_LIMIT:
            raise Internal("the server's error stream does not end")

    def _consumed(self, number: int, count: int) -> None:
        """Let the server send on."""
        self._wire.protocol.multiplexer.consumed(number, count)
        self._wire.flush_soon()

    async def _send(self, kind: str, data: bytes) -> None:
        multiplexer, number = self._wire.protocol.multiplexer, self._numbers[kind]
        await _unless_gone(
            self._wire.deliver(data, lambda: multiplexer.room(number), lambda part: multiplexer.send(number, part))
        )


async def _unless_gone(sending: Awaitable[None]) -> None:
    try:
        await sending
    except ClientGone as error:
        raise Unavailable(f"{GONE}: {error}") from None


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
    reader, writer, version = await dial(url, COMMANDS_OFFERED, tls)
    try:
        yield CommandClient(Wire(reader, writer, command_client(version, wanted)), wanted)
    finally:
        close(writer)
