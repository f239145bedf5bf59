"""A multiplexer as the machine of a `Wire`: a client deals with the events itself."""

from vmsandbox.streaming.protocol.multiplexer import Closed, Event, Failed, Multiplexer
from vmsandbox.streaming.protocol.stream_protocol import MultiplexerMachine

GONE = "the streaming server hung up"


class Passing(MultiplexerMachine[Event]):
    """Passes events on as they are."""

    def __init__(self, multiplexer: Multiplexer) -> None:
        """Begin with a connection that is upgraded."""
        super().__init__(multiplexer)
        self.multiplexer = multiplexer

    def _take(self, event: Event) -> list[Event]:
        self.over = isinstance(event, Closed | Failed)
        return [event]
