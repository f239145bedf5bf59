"""The base of the protocols that stand on a multiplexer, without I/O; each can be carried by an `io.Wire`.

`ServedProtocol` is the server's end, of which there are two: remote commands and port-forward.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vmsandbox.streaming.protocol.multiplexer import Closed, Data, Ended, Event, Failed, Multiplexer, Opened, Reset

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Left:
    """The client has gone, or does not take part any more; `reason` where it broke the protocol."""

    reason: str = ""


class StreamProtocol(Generic[E]):
    """A protocol that turns the events of a multiplexer into its own. Owns the multiplexer."""

    def __init__(self, multiplexer: Multiplexer) -> None:
        """Begin with a connection that is upgraded."""
        self._multiplexer = multiplexer
        self.over = False
        """True when the peer has gone."""

    def receive(self, data: bytes) -> list[E]:
        """Take bytes of the peer in, and return the events. There are none after it is `over`."""
        events: list[E] = []
        for event in self._multiplexer.receive(data):
            if not self.over:
                events += self._take(event)
        return events

    def take_output(self) -> bytes:
        """Take the bytes that are to be sent to the peer now."""
        return self._multiplexer.output()

    def heartbeat(self) -> None:
        """Send the peer a message that has no effect."""
        self._multiplexer.heartbeat()

    def _take(self, event: Event) -> Sequence[E]:
        raise NotImplementedError


class ServedProtocol(StreamProtocol[E | Left]):
    """The server's end: the client opens streams. `Left` is its last event."""

    def _take(self, event: Event) -> Sequence[E | Left]:
        match event:
            case Opened(number, headers):
                return self._take_stream(number, headers)
            case Data(number, data):
                return self._take_data(number, data)
            case Ended(number):
                return self._take_end(number)
            case Reset(number):
                return self._take_reset(number)
            case Closed():
                return self._leave("")
            case Failed(reason):
                return self._leave(reason)

    def _take_stream(self, number: int, headers: Mapping[str, str]) -> Sequence[E]:
        raise NotImplementedError

    def _take_data(self, number: int, data: bytes) -> Sequence[E]:
        raise NotImplementedError

    def _take_end(self, number: int) -> Sequence[E]:
        raise NotImplementedError

    def _take_reset(self, number: int) -> Sequence[E]:
        raise NotImplementedError

    def _leave(self, reason: str) -> Sequence[Left]:
        self.over = True
        return [Left(reason)]


class ClientProtocol(StreamProtocol[Event]):
    """The client's end: it opens streams, and deals with the events as they are."""

    def __init__(self, multiplexer: Multiplexer) -> None:
        """Begin with a connection that is upgraded."""
        super().__init__(multiplexer)
        self.multiplexer = multiplexer

    def _take(self, event: Event) -> list[Event]:
        self.over = isinstance(event, Closed | Failed)
        return [event]
