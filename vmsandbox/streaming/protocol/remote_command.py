"""The server's end of a remote command (exec, attach), over any multiplexer, without I/O.

A client opens a stream for each that it has asked for, told apart by the header `streamType`: error, stdin, stdout,
stderr, and with a terminal resize (v3). When all are there the command starts. At its end the output streams end,
and the error stream says how it ended (`status`). Source: Kubernetes' remotecommand packages and KEP-4006.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming.protocol.command_status import CommandStatus
from vmsandbox.streaming.protocol.multiplexer import UNBOUNDED, Multiplexer
from vmsandbox.streaming.protocol.stream_protocol import ServedProtocol
from vmsandbox.streaming.protocol.terminal_size import ResizeReader, TerminalSize
from vmsandbox.streaming.protocol.versions import COMMAND_CHANNELS, CommandVersion

STREAM_TYPE = "streamtype"
ERROR, RESIZE = "error", "resize"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The streams that were asked for. A terminal has no stderr."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False

    def types(self, *, resize: bool) -> tuple[str, ...]:
        """The types of the streams that the client opens, in the order in which Kubernetes does."""
        wanted = {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr and not self.tty}
        return (ERROR, *(name for name, want in wanted.items() if want), *((RESIZE,) if self.tty and resize else ()))


@dataclass(frozen=True, slots=True)
class Started:
    """All streams are there."""


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes for standard input; `RemoteCommand.consumed` says that they were taken."""

    data: bytes


@dataclass(frozen=True, slots=True)
class InputEnded:
    """Standard input has ended."""


@dataclass(frozen=True, slots=True)
class Resized:
    """The client's window has a new size."""

    size: TerminalSize


CommandEvent = Started | Input | InputEnded | Resized


def stream_headers(kind: str) -> dict[str, str]:
    """The headers with which a client opens the stream of a type."""
    return {STREAM_TYPE: kind}


def channel_headers(wanted: Wanted) -> dict[int, dict[str, str]]:
    """The channels of a WebSocket, with the headers of the streams that they stand for."""
    return {COMMAND_CHANNELS[kind]: stream_headers(kind) for kind in wanted.types(resize=True)}


class RemoteCommand(ServedProtocol[CommandEvent]):
    """A command, or an attached container, as its client sees it. Owns the multiplexer."""

    def __init__(self, multiplexer: Multiplexer, version: CommandVersion, wanted: Wanted) -> None:
        """Wait for the streams."""
        super().__init__(multiplexer)
        self._version = version
        self._wanted = wanted.types(resize=version.resize)
        self._streams: dict[str, int] = {}
        self._types: dict[int, str] = {}
        self._resize = ResizeReader()
        self._input_open = "stdin" in self._wanted

    def room(self, stream: Stream) -> int:
        """Bytes of output that may be sent now."""
        number = self._streams.get(stream.value)
        return self._multiplexer.room(number) if number is not None else UNBOUNDED

    def send(self, stream: Stream, data: bytes) -> None:
        """Send output, at most `room`. What the client has not asked for is thrown away."""
        if data and (number := self._streams.get(stream.value)) is not None:
            self._multiplexer.send(number, data)

    def consumed(self, count: int) -> None:
        """Say that `count` bytes of standard input were taken."""
        if (number := self._streams.get("stdin")) is not None:
            self._multiplexer.consumed(number, count)

    def finish(self, status: CommandStatus) -> None:
        """Tell the client how the command ended, and end the connection."""
        for kind in ("stdout", "stderr"):
            if kind in self._streams:
                self._multiplexer.end(self._streams[kind])
        if ERROR in self._streams:
            if encoded := status.encode(as_json=self._version.json_status):
                self._multiplexer.send(self._streams[ERROR], encoded)
            self._multiplexer.end(self._streams[ERROR])
        if "stdin" in self._streams:
            self._multiplexer.end(self._streams["stdin"])  # A client of v2 or later waits for that.
        self._multiplexer.close()

    def abandon(self, reason: str) -> None:
        """End the connection because of an error."""
        self._multiplexer.close(reason)

    def _take_stream(self, number: int, headers: Mapping[str, str]) -> list[CommandEvent]:
        kind = headers.get(STREAM_TYPE, "")
        if kind not in self._wanted or kind in self._streams:
            self._multiplexer.reset(number)
            return []
        self._streams[kind] = number
        self._types[number] = kind
        if len(self._streams) < len(self._wanted):
            return []
        self._greet()
        return [Started()]

    def _greet(self) -> None:
        """Tell a client of WebSockets, by an empty message on the first output channel, that all channels are open."""
        if self._version.channels is not None:
            first = next((kind for kind in ("stdout", "stderr") if kind in self._streams), ERROR)
            self._multiplexer.send(self._streams[first], b"")

    def _take_data(self, number: int, data: bytes) -> list[CommandEvent]:
        kind = self._types.get(number, "")
        if kind == "stdin" and self._input_open:
            return [Input(data)]
        self._multiplexer.consumed(number, len(data))
        return [Resized(size) for size in self._resize.feed(data)] if kind == RESIZE else []

    def _take_end(self, number: int) -> list[CommandEvent]:
        if self._types.get(number) != "stdin" or not self._input_open:
            return []
        self._input_open = False
        return [InputEnded()]

    def _take_reset(self, number: int) -> list[CommandEvent]:
        return self._take_end(number)
