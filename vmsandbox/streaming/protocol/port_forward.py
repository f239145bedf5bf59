"""The server's end of port-forward, over any multiplexer, without I/O.

Each connection to a port is a pair of streams (`pairs`): data, which carries the bytes both ways, and error, on which
the server says in text why the port cannot be reached. Over WebSocket channels there is one pair for each port that the
CRI request named, and both streams begin with the port, two bytes, little-endian.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vmsandbox.streaming.protocol.multiplexer import Multiplexer
from vmsandbox.streaming.protocol.stream_pairs import EARLY_LIMIT, Pair, WaitingPairs
from vmsandbox.streaming.protocol.stream_protocol import ServedProtocol


@dataclass(frozen=True, slots=True)
class Requested:
    """A pair is complete: connect to `port` for the connection `number`."""

    number: int
    port: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The first stream of a pair has come. Call `expire` when the second does not come in time."""

    pair: int


@dataclass(frozen=True, slots=True)
class PortInput:
    """Bytes for the port; `PortForward.consumed` says that they were taken."""

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PortInputEnded:
    """The client sends nothing more."""

    number: int


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The client has given a connection up."""

    number: int


PortEvent = Requested | Waiting | PortInput | PortInputEnded | GaveUp


class PortForward(ServedProtocol[PortEvent]):
    """A client's connections to ports. Owns the multiplexer. A connection's number is that of its data stream."""

    def __init__(self, multiplexer: Multiplexer, *, tells_ports: bool = False) -> None:
        """Wait for streams; `tells_ports`: they are channels, which begin with their port."""
        super().__init__(multiplexer)
        self._tells_ports = tells_ports
        self._waiting = WaitingPairs()
        self._open: dict[int, int] = {}
        """The error streams of connections, by their data streams."""
        self.finished = False
        """True when all connections have ended and the client was told so (channels only)."""

    @property
    def waiting(self) -> set[int]:
        """The pairs whose other stream has not come yet."""
        return self._waiting.serials

    def room(self, number: int) -> int:
        """Bytes that may be sent to the client now."""
        return self._multiplexer.room(number)

    def send(self, number: int, data: bytes) -> None:
        """Send bytes of the port, at most `room`."""
        self._multiplexer.send(number, data)

    def consumed(self, number: int, count: int) -> None:
        """Say that `count` bytes of a connection were taken, or thrown away."""
        self._multiplexer.consumed(number, count)

    def end(self, number: int) -> None:
        """Say that the port sends nothing more."""
        self._multiplexer.end(number)

    def finish(self, number: int) -> None:
        """End a connection whose both directions have ended."""
        if (error := self._open.pop(number, None)) is not None:
            self._multiplexer.end(number)
            self._multiplexer.end(error)
            self._close_when_done()

    def fail(self, number: int, message: str) -> None:
        """End a connection that could not be made, or that broke, and tell the client why."""
        if (error := self._open.pop(number, None)) is not None:
            if message:
                self._multiplexer.send(error, message.encode())
            self._multiplexer.end(error)
            self._multiplexer.reset(number)
            self._close_when_done()

    def refuse(self, number: int, message: str) -> None:
        """Reset a connection, without touching the client's others.

        Over SPDY the client is not told why: kubectl takes any text on an error stream for the end of all of its
        connections. Over channels text is the only way to say that a connection has ended.
        """
        self.fail(number, message if self._tells_ports else "")

    def expire(self, serial: int) -> None:
        """Give up a pair whose second stream did not come in time. Nothing happens to a complete pair."""
        if (pair := self._waiting.find(serial)) is not None:
            if pair.error is not None:
                self._multiplexer.send(pair.error, b"timed out waiting for the data stream")
                self._multiplexer.end(pair.error)
            self._drop(pair)

    def _take_stream(self, number: int, headers: Mapping[str, str]) -> list[PortEvent]:
        pair = self._waiting.add(number, headers)
        if pair is None:
            self._multiplexer.reset(number)
            return []
        if pair.data is None or pair.error is None:
            return [Waiting(pair.serial)]
        return self._complete(pair, pair.data, pair.error)

    def _complete(self, pair: Pair, data: int, error: int) -> list[PortEvent]:
        self._waiting.remove(pair)
        self._open[data] = error
        if self._tells_ports:
            for stream in (data, error):
                self._multiplexer.send(stream, pair.port.to_bytes(2, "little"))
        early: list[PortEvent] = [PortInput(data, bytes(pair.early))] if pair.early else []
        ended: list[PortEvent] = [PortInputEnded(data)] if pair.early_end else []
        return [Requested(data, pair.port), *early, *ended]

    def _take_data(self, number: int, data: bytes) -> list[PortEvent]:
        if number in self._open:
            return [PortInput(number, data)]
        pair = self._waiting.of_data(number)
        if pair is None:
            self._multiplexer.consumed(number, len(data))
            return []
        pair.early += data
        if len(pair.early) > EARLY_LIMIT:
            self._drop(pair)
        return []

    def _take_end(self, number: int) -> list[PortEvent]:
        if (pair := self._waiting.of_data(number)) is not None:
            pair.early_end = True
        return [PortInputEnded(number)] if number in self._open else []

    def _take_reset(self, number: int) -> list[PortEvent]:
        """A connection ends with its data stream; a pair that waits, with either."""
        if (error := self._open.pop(number, None)) is not None:
            self._multiplexer.end(error)
            return [GaveUp(number)]
        if (pair := self._waiting.of(number)) is not None:
            self._drop(pair)
        return []

    def _drop(self, pair: Pair) -> None:
        """Give up a pair that waits."""
        self._waiting.remove(pair)
        if pair.data is not None:
            self._multiplexer.consumed(pair.data, len(pair.early))
        for number in (pair.data, pair.error):
            if number is not None:
                self._multiplexer.reset(number)

    def _close_when_done(self) -> None:
        """Close the connection when no port is left. Over channels no more can be opened."""
        if self._tells_ports and not self._open:
            self.finished = True
            self._multiplexer.close()
