"""What the remote-command and port-forward protocols stand on: streams of bytes over one connection, without I/O.

`spdy.SpdyConnection`, `channels.WebSocketChannels` and `tunnel.Tunnel` are multiplexers. Bytes of the peer go into
`receive`, which gives events; calls make bytes for the peer, which `output` takes. None of them raises for what a
peer does: a peer that breaks the protocol makes one last event, `Failed`, and the bytes that tell it why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer has opened a stream; `headers` have lower-case names."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream, in order. Who has dealt with them says so by `consumed`."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The peer sends nothing more on a stream (half close)."""

    stream: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The peer has given a stream up in both directions."""

    stream: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer has ended the connection in order. Nothing comes after it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The peer broke the protocol, or a limit of it; `reason` is for a log. Nothing comes after it."""

    reason: str


Event = Opened | Data | Ended | Reset | Closed | Failed

UNBOUNDED = 1 << 30
"""The room of a stream whose multiplexer has no windows: the connection itself holds the sender back."""


class Multiplexer(Protocol):
    """One end of a connection that carries streams."""

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes of the peer in. After `Closed` or `Failed` everything is ignored."""
        ...

    def output(self) -> bytes:
        """Take what is to be sent to the peer now."""
        ...

    def open(self, headers: Mapping[str, str]) -> int:
        """Open a stream (a client does), and return its number."""
        ...

    def room(self, stream: int) -> int:
        """Bytes that may be sent on a stream now; it grows again while the peer's bytes are received."""
        ...

    def send(self, stream: int, data: bytes) -> None:
        """Send bytes, at most `room`. Nothing happens on a stream that is closed for writing, or gone."""
        ...

    def end(self, stream: int) -> None:
        """Say that nothing more comes on a stream. Nothing happens where that was said, or the stream is gone."""
        ...

    def reset(self, stream: int) -> None:
        """Give a stream up in both directions; no more events come of it."""
        ...

    def consumed(self, stream: int, count: int) -> None:
        """Say that `count` bytes of a stream's data have been dealt with, so that the peer may send as many more."""
        ...

    def heartbeat(self) -> None:
        """Send something that means nothing and is not answered: where the peer is gone, its kernel says so."""
        ...

    def close(self, reason: str = "") -> None:
        """End the connection in order; with a reason, because of an error."""
        ...
