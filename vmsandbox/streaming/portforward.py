"""The server's end of port-forward: one state machine over any multiplexer, without I/O.

Each connection to a port is a pair of streams, told apart by the header `streamType`: data, which carries the bytes
both ways, and error, on which the server says in text why the port cannot be had. Both name the port, and one
`requestID`; a client too old for that opens the pair one after the other. Over WebSocket channels there is one pair
for each port that the CRI request named, and both streams begin with the port, two bytes, little-endian.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vmsandbox.streaming.machine import ServedMachine
from vmsandbox.streaming.multiplexer import Multiplexer

STREAM_TYPE, PORT, REQUEST_ID = "streamtype", "port", "requestid"
DATA, ERROR = "data", "error"
MAX_WAITING = 64
"""Pairs that may wait for their other stream."""
EARLY_LIMIT = 64 * 1024
"""Bytes that a data stream may bring before its pair is complete."""


@dataclass(frozen=True, slots=True)
class Requested:
    """A pair is complete: connect to `port`, for the connection `number`."""

    number: int
    port: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The first stream of a pair is there; where the other does not come in time, call `expire`."""

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


@dataclass(slots=True)
class _Pair:
    """What has come of a pair."""

    serial: int
    port: int
    data: int | None = None
    error: int | None = None
    early: bytearray = field(default_factory=bytearray)
    early_end: bool = False


def channel_headers(ports: Sequence[int]) -> dict[int, dict[str, str]]:
    """The channels of a WebSocket: data and error for each port, in turns."""
    return {
        2 * index + offset: {STREAM_TYPE: kind, PORT: str(port), REQUEST_ID: str(index)}
        for index, port in enumerate(ports)
        for offset, kind in enumerate((DATA, ERROR))
    }


class PortForward(ServedMachine[PortEvent]):
    """A client's connections to ports. Owns the multiplexer. A connection's number is that of its data stream."""

    def __init__(self, multiplexer: Multiplexer, *, tells_ports: bool = False) -> None:
        """Wait for streams; `tells_ports`: they are channels, which begin with their port."""
        super().__init__(multiplexer)
        self._tells_ports = tells_ports
        self._serials = itertools.count()
        self._waiting: dict[str, _Pair] = {}
        self._open: dict[int, _Pair] = {}
        self.finished = False
        """Whether nothing more is to be done, and the client was told so."""

    @property
    def waiting(self) -> set[int]:
        """The pairs whose other stream has not come yet."""
        return {pair.serial for pair in self._waiting.values()}

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
        """The port sends nothing more."""
        self._multiplexer.end(number)

    def finish(self, number: int) -> None:
        """A connection has ended in both directions."""
        if (pair := self._open.pop(number, None)) is not None and pair.error is not None:
            self._multiplexer.end(number)
            self._multiplexer.end(pair.error)
            self._close_when_done()

    def fail(self, number: int, message: str) -> None:
        """A connection cannot be had, or broke: tell the client, and give it up."""
        if (pair := self._open.pop(number, None)) is not None and pair.error is not None:
            self._multiplexer.send(pair.error, message.encode())
            self._multiplexer.end(pair.error)
            self._multiplexer.reset(number)
            self._close_when_done()

    def expire(self, serial: int) -> None:
        """The other stream of the pair did not come in time. Nothing happens where it did."""
        for request, pair in tuple(self._waiting.items()):
            if pair.serial == serial:
                del self._waiting[request]
                if pair.error is not None:
                    self._multiplexer.send(pair.error, b"timed out waiting for the data stream")
                    self._multiplexer.end(pair.error)
                self._drop(pair)

    def _take_stream(self, number: int, headers: Mapping[str, str]) -> list[PortEvent]:
        kind, port = headers.get(STREAM_TYPE), _port(headers.get(PORT, ""))
        request = headers.get(REQUEST_ID) or f"stream {number if kind == ERROR else number - 2}"
        pair = self._waiting.get(request) or _Pair(next(self._serials), port)
        taken = pair.data if kind == DATA else pair.error
        full = request not in self._waiting and len(self._waiting) >= MAX_WAITING
        if kind not in (DATA, ERROR) or not port or port != pair.port or taken is not None or full:
            self._multiplexer.reset(number)
            return []
        self._waiting[request] = pair
        if kind == DATA:
            pair.data = number
        else:
            pair.error = number
        if pair.data is None or pair.error is None:
            return [Waiting(pair.serial)]
        return self._complete(request, pair, pair.data, pair.error)

    def _complete(self, request: str, pair: _Pair, data: int, error: int) -> list[PortEvent]:
        del self._waiting[request]
        self._open[data] = pair
        if self._tells_ports:
            for stream in (data, error):
                self._multiplexer.send(stream, pair.port.to_bytes(2, "little"))
        early: list[PortEvent] = [PortInput(data, bytes(pair.early))] if pair.early else []
        ended: list[PortEvent] = [PortInputEnded(data)] if pair.early_end else []
        return [Requested(data, pair.port), *early, *ended]

    def _take_data(self, number: int, data: bytes) -> list[PortEvent]:
        if number in self._open:
            return [PortInput(number, data)]
        request = next((name for name, pair in self._waiting.items() if pair.data == number), None)
        if request is None:
            self._multiplexer.consumed(number, len(data))
            return []
        self._waiting[request].early += data
        if len(self._waiting[request].early) > EARLY_LIMIT:
            self._drop(self._waiting.pop(request))
        return []

    def _take_end(self, number: int) -> list[PortEvent]:
        for pair in self._waiting.values():
            if pair.data == number:
                pair.early_end = True
        return [PortInputEnded(number)] if number in self._open else []

    def _take_reset(self, number: int) -> list[PortEvent]:
        """A connection ends with its data stream; a pair that waits, with either."""
        if number in self._open:
            pair = self._open.pop(number)
            if pair.error is not None:
                self._multiplexer.end(pair.error)
            return [GaveUp(number)]
        for request, pair in tuple(self._waiting.items()):
            if number in (pair.data, pair.error):
                del self._waiting[request]
                self._drop(pair)
        return []

    def _drop(self, pair: _Pair) -> None:
        if pair.data is not None:
            self._multiplexer.consumed(pair.data, len(pair.early))
        for number in (pair.data, pair.error):
            if number is not None:
                self._multiplexer.reset(number)

    def _close_when_done(self) -> None:
        """No more pairs can come over channels than the ones there were; the end of all is the connection's."""
        if self._tells_ports and not self._open:
            self.finished = True
            self._multiplexer.close()


def _port(text: str) -> int:
    """The port that a header names, or 0."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) < 65536 else 0
