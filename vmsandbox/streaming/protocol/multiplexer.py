"""Streams of bytes over one connection, without I/O: the base of remote command and port-forward.

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
    """Bytes of a stream, in order. Call `consumed` when they have been dealt with."""

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
        """Take the bytes that are to be sent to the peer now."""
        ...

    def open(self, headers: Mapping[str, str]) -> int:
        """Open a stream (a client does), and return its number."""
        ...

    def room(self, stream: int) -> int:
        """Return how many bytes may be sent on a stream now. The number grows while the peer's bytes are received."""
        ...

    def send(self, stream: int, data: bytes) -> None:
        """Send bytes, at most `room`. Nothing happens on a stream that is closed for writing, or gone."""
        ...

    def end(self, stream: int) -> None:
        """Say that nothing more comes on a stream. Nothing happens where that was said, or the stream is gone."""
        ...

    def reset(self, stream: int) -> None:
        """Give a stream up in both directions; it makes no more events."""
        ...

    def consumed(self, stream: int, count: int) -> None:
        """Say that `count` bytes of a stream's data have been dealt with, so that the peer may send as many more."""
        ...

    def heartbeat(self) -> None:
        """Send a message that has no effect and no answer. The kernel of a peer that is gone answers with RST."""
        ...

    def close(self, reason: str = "") -> None:
        """End the connection in order; with a reason, because of an error."""
        ...
