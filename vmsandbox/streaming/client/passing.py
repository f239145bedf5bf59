"""A multiplexer as the machine of a `Wire`: a client deals with the events itself."""

from vmsandbox.streaming.multiplexer import Closed, Event, Failed, Multiplexer

GONE = "the streaming server hung up"


class Passing:
    """Passes events on as they are. Owns the multiplexer."""

    def __init__(self, multiplexer: Multiplexer) -> None:
        """Begin with a connection that is upgraded."""
        self.multiplexer = multiplexer
        self.over = False

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes of the server in."""
        events = self.multiplexer.receive(data)
        self.over = self.over or any(isinstance(event, Closed | Failed) for event in events)
        return events

    def take_output(self) -> bytes:
        """Take what is to be sent."""
        return self.multiplexer.output()

    def heartbeat(self) -> None:
        """Have something sent that means nothing."""
        self.multiplexer.heartbeat()
