"""The agent's events on their way to the one who handles them: in order, each once, acknowledged when handled."""

import asyncio
from collections.abc import Awaitable, Callable

from vmsandbox.protocol.codec import MalformedMessage, decode
from vmsandbox.protocol.framing import ProtocolError
from vmsandbox.protocol.messages import EVENTS, Envelope, Event

EventHandler = Callable[[Event], Awaitable[None]]

MAX_WAITING = 2048
"""Events that may wait for the handler; an agent keeps no more than half of it unacknowledged."""


class EventPump:
    """Outlives connections: what an old one delivered and a new one delivers again is handled once."""

    def __init__(self, handler: EventHandler, acknowledged: int) -> None:
        """Hand events after the number `acknowledged` to `handler`, one at a time."""
        self.acknowledged = acknowledged
        self._handler = handler
        self._received = acknowledged
        self._waiting: asyncio.Queue[tuple[int, Event]] = asyncio.Queue(MAX_WAITING)

    def connected(self) -> Callable[[Envelope], None]:
        """A `take` for the events of a new connection, which brings each event once.

        It raises ProtocolError also for an event that comes a second time, or after a later one.
        """
        last = 0

        def take(envelope: Envelope) -> None:
            nonlocal last
            if envelope.id <= last:
                raise ProtocolError(f"event {envelope.id} came after event {last}")
            last = envelope.id
            self.take(envelope)

        return take

    def take(self, envelope: Envelope) -> None:
        """Queue an event, unless it was received before.

        Raises:
            ProtocolError: there is no such event, or too many are waiting.
        """
        if envelope.id <= self._received:
            return
        event = _event(envelope)
        try:
            self._waiting.put_nowait((envelope.id, event))
        except asyncio.QueueFull:
            raise ProtocolError(f"more than {MAX_WAITING} events are waiting") from None
        self._received = envelope.id

    async def run(self, acknowledge: Callable[[int], None]) -> None:
        """Handle events until cancelled; raises what the handler raises, with that event unacknowledged."""
        while True:
            number, event = await self._waiting.get()
            await self._handler(event)
            self.acknowledged = number
            acknowledge(number)


def _event(envelope: Envelope) -> Event:
    kind = EVENTS.get(envelope.method)
    if kind is None:
        raise ProtocolError(f"an unknown event {envelope.method!r}")
    try:
        return decode(kind, envelope.body, envelope.method)
    except MalformedMessage as error:
        raise ProtocolError(str(error)) from None
