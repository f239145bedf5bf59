"""The streams of a SPDY/3 session (draft-mbelshe-httpbis-spdy-00, 2.3).

A stream is open in both directions, then closed in one and in the other (FIN), or reset. Streams of the client have
odd numbers, those of the server even ones; they only grow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from vmsandbox.streaming.protocol.spdy.frames import SpdyError
from vmsandbox.streaming.protocol.spdy.windows import ReceiveWindow, SendWindow

MAX_STREAMS = 256
"""Streams that the peer may have open; more are refused."""


@dataclass(slots=True)
class SpdyStream:
    """A stream that is open in one direction at least."""

    send: SendWindow
    receive: ReceiveWindow = field(default_factory=ReceiveWindow)
    replied: bool = True
    sending: bool = True
    receiving: bool = True


class SpdyStreams:
    """The open streams by their numbers, and the numbers that were given out."""

    def __init__(self, *, server: bool, limit: int = MAX_STREAMS) -> None:
        """Begin without any; `server` says which end this is."""
        self.last_of_peer = 0
        """The last number that the peer has given out, or 0."""
        self._open: dict[int, SpdyStream] = {}
        self._limit = limit
        self._next_own = 2 if server else 1
        self._peer_parity = 1 if server else 0

    def __iter__(self) -> Iterator[SpdyStream]:
        """Iterate over the open streams."""
        return iter(self._open.values())

    @property
    def full(self) -> bool:
        """True when the peer may not open another stream."""
        return len(self._open) >= self._limit

    def get(self, number: int) -> SpdyStream | None:
        """Return a stream; None for one that is gone, or never was."""
        return self._open.get(number)

    def open(self, stream: SpdyStream) -> int:
        """Add a stream of ours, and return its number."""
        number, self._next_own = self._next_own, self._next_own + 2
        self._open[number] = stream
        return number

    def accept(self, number: int, stream: SpdyStream) -> None:
        """Add a stream of the peer's; `count` has taken its number."""
        self._open[number] = stream

    def count(self, number: int) -> None:
        """Take note of a number that the peer gives out. Raises SpdyError for one that it may not."""
        if not self.is_of_peer(number) or number <= self.last_of_peer:
            raise SpdyError(f"a stream {number} after stream {self.last_of_peer}")
        self.last_of_peer = number

    def is_of_peer(self, number: int) -> bool:
        """Return whether the number is one of the peer's, for streams and for pings."""
        return number % 2 == self._peer_parity

    def never_was(self, number: int) -> bool:
        """Return whether neither end has given that number out yet."""
        return number > max(self.last_of_peer, self._next_own)

    def drop(self, number: int) -> bool:
        """Forget a stream; return whether it was there."""
        return self._open.pop(number, None) is not None

    def drop_closed(self, number: int) -> None:
        """Forget a stream if it is closed in both directions."""
        stream = self._open.get(number)
        if stream is not None and not stream.sending and not stream.receiving:
            del self._open[number]
