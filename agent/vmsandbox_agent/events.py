"""Events, numbered from 1 since boot, and kept until the host has acknowledged them."""

from collections.abc import Callable

from vmsandbox.protocol.codec import encode
from vmsandbox.protocol.messages import Envelope, Event, Kind
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.settings import MAX_EVENTS


class EventLog:
    """The events that the host has not acknowledged, in order, and who is told of a new one."""

    def __init__(self) -> None:
        """Empty, with nobody listening."""
        self._events: dict[int, Envelope] = {}
        self._last = 0
        self._listener: Callable[[], None] | None = None

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` at every new event from now on."""
        self._listener = listener

    def append(self, event: Event) -> int:
        """Number and keep an event; returns its number. Never refuses: ask `check_room` before starting a process."""
        self._last += 1
        self._events[self._last] = Envelope(Kind.EVENT, self._last, event.EVENT, encode(event))
        if self._listener is not None:
            self._listener()
        return self._last

    def acknowledged(self, number: int) -> bool:
        """Whether the host has dealt with that event."""
        return number not in self._events

    def check_room(self, processes: int) -> None:
        """Raise AgentError when the events of that many processes could not be kept."""
        if len(self._events) + processes >= MAX_EVENTS:
            raise AgentError("resource_exhausted", f"{len(self._events)} events are not acknowledged")

    def acknowledge(self, number: int) -> None:
        """Forget the events up to and including `number`."""
        for known in [known for known in self._events if known <= number]:
            del self._events[known]

    def after(self, number: int) -> list[Envelope]:
        """The kept events that are later than `number`."""
        return [event for known, event in self._events.items() if known > number]
