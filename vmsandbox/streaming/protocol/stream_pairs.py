"""The pairs of streams of port-forward: which streams belong together, and those that wait for their other one.

The two are told apart by the header `streamType`. Both name the port, and one `requestID`; a client too old for that
opens the pair one after the other, error first.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

STREAM_TYPE, PORT, REQUEST_ID = "streamtype", "port", "requestid"
DATA, ERROR = "data", "error"
MAX_WAITING = 64
"""Pairs that may wait for their other stream."""
EARLY_LIMIT = 64 * 1024
"""Bytes that a data stream may bring before its pair is complete."""


@dataclass(slots=True)
class Pair:
    """A pair of streams, of which one or both have come."""

    serial: int
    request: str
    port: int
    data: int | None = None
    error: int | None = None
    early: bytearray = field(default_factory=bytearray)
    """The bytes of the data stream before the pair was complete; `early_end` tells whether the stream ended, too."""
    early_end: bool = False


def pair_headers(kind: str, port: int, request: int) -> dict[str, str]:
    """The headers with which a client opens one stream (`DATA` or `ERROR`) of a pair; `request` is the pair's own."""
    return {STREAM_TYPE: kind, PORT: str(port), REQUEST_ID: str(request)}


def channel_headers(ports: Sequence[int]) -> dict[int, dict[str, str]]:
    """The channels of a WebSocket: data and error for each port, in turns."""
    return {
        2 * index + offset: pair_headers(kind, port, index)
        for index, port in enumerate(ports)
        for offset, kind in enumerate((DATA, ERROR))
    }


class WaitingPairs:
    """Pairs of which one stream has come."""

    def __init__(self) -> None:
        """Begin without any."""
        self._serials = itertools.count()
        self._pairs: dict[str, Pair] = {}

    @property
    def serials(self) -> set[int]:
        """The serial numbers of the pairs that wait."""
        return {pair.serial for pair in self._pairs.values()}

    def add(self, number: int, headers: Mapping[str, str]) -> Pair | None:
        """Return the pair that a new stream begins or completes, or None for a stream that can do neither.

        The pair stays until `remove`."""
        kind, port = headers.get(STREAM_TYPE), _port(headers.get(PORT, ""))
        request = headers.get(REQUEST_ID) or f"stream {number if kind == ERROR else number - 2}"
        pair = self._pairs.get(request) or Pair(next(self._serials), request, port)
        taken = pair.data if kind == DATA else pair.error
        full = request not in self._pairs and len(self._pairs) >= MAX_WAITING
        if kind not in (DATA, ERROR) or not port or port != pair.port or taken is not None or full:
            return None
        self._pairs[request] = pair
        if kind == DATA:
            pair.data = number
        else:
            pair.error = number
        return pair

    def remove(self, pair: Pair) -> None:
        """Forget a pair that is complete or given up."""
        del self._pairs[pair.request]

    def find(self, serial: int) -> Pair | None:
        """The pair of this serial number, if it still waits."""
        return next((pair for pair in self._pairs.values() if pair.serial == serial), None)

    def of(self, number: int) -> Pair | None:
        """The pair that has this stream."""
        return next((pair for pair in self._pairs.values() if number in (pair.data, pair.error)), None)

    def of_data(self, number: int) -> Pair | None:
        """The pair whose data stream this is."""
        return next((pair for pair in self._pairs.values() if number == pair.data), None)


def _port(text: str) -> int:
    """The port that a header names, or 0."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) < 65536 else 0
