"""One control connection: the hello, requests that run side by side, and what the agent says by itself.

It lives from `Control.open` until `run` returns, and is never used again; `session.Session` makes the next one.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from vmsandbox.errors import Unavailable, Unimplemented, VmsandboxError
from vmsandbox.fairness import TimeShare
from vmsandbox.guest.session import features
from vmsandbox.guest.session.handshake import Greet
from vmsandbox.guest.session.requests import Requests, outcome
from vmsandbox.guest.session.untrusted_text import first_line
from vmsandbox.guest.transport import GuestConnection, Transport
from vmsandbox.protocol.codec import MalformedMessage, decode, encode
from vmsandbox.protocol.features import TIMED_ANSWERS
from vmsandbox.protocol.framing import ProtocolError, pack_json, parse_json
from vmsandbox.protocol.messages import AGENT_FRAME, CONTROL_PORT, Envelope, HelloReply, Kind, Request
from vmsandbox.telemetry import guest_phases, is_traced

DIAL_TIMEOUT = 10.0
"""Seconds for one dial; a guest whose kernel has no vsock driver yet leaves it unanswered."""

_SECONDS_PER_EVENT = 1e-3
"""The assumed cost of an event: it is handled, recorded and acknowledged."""

_SECONDS_PER_LARGE_FRAME = 0.05
"""The assumed cost of a frame of more than `AGENT_FRAME` bytes."""

MAX_BRACKETS = 10 * 1024
"""Arrays and objects in such a frame, more than the fullest measures have. The JSON parser lets no other thread run
before it ends, and half a MiB of empty arrays would take it 60 ms."""


class Goodbye(Unavailable):
    """The agent took its leave, with a reason: it shuts down, or a newer controller has replaced this one."""


class Control:
    """A connection whose hello is done. `run` receives; `call` may be awaited by any number of tasks."""

    def __init__(self, transport: Transport, connection: GuestConnection, peer: HelloReply, share: TimeShare) -> None:
        """`open` calls this."""
        self.peer = peer
        self._transport = transport
        self._connection = connection
        self._share = share
        self._requests = Requests()

    @classmethod
    async def open(cls, transport: Transport, greet: Greet, share: TimeShare) -> "Control":
        """Dial the agent and exchange the hellos. The caller `run`s it, and ends it with `aclose`.

        Args:
            transport: the way to the guest.
            greet: exchanges the hellos; it raises Unavailable and FailedPrecondition as here.
            share: the guest's, which the work for what it sends is charged to.

        Raises:
            Unavailable: nobody answers properly (yet).
            TransportBroken: nobody ever will.
            FailedPrecondition: the agent speaks none of the offered versions, or does not know the machine's secret.
        """
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                connection = GuestConnection(*await transport.dial(CONTROL_PORT), AGENT_FRAME, share)
        except TimeoutError:
            raise Unavailable(f"the guest did not take a connection within {DIAL_TIMEOUT:g} s") from None
        try:
            return cls(transport, connection, await greet(connection), share)
        except BaseException:
            await connection.aclose()
            raise

    async def run(self, on_event: Callable[[Envelope], None]) -> VmsandboxError:
        """Receive until the connection ends, and return why; what waits for answers is the caller's to `fail`.

        Args:
            on_event: takes every event; may raise ProtocolError to end the connection.
        """
        reason = await self._receive(on_event)
        return await self._transport.diagnose() or reason

    async def call(self, request: Request, deadline: float) -> Any:
        """Send a request and return its decoded result. When cancelled, the agent is told to cancel it too.

        Args:
            request: its dataclass names that of the result.
            deadline: `time.monotonic` at which the caller stops waiting; the caller enforces it.

        Raises:
            InvalidArgument: the request is larger than a frame, or beyond its bounds.
            Unimplemented: the agent is of another version of vmsandbox, and does not have it.
            Unavailable: the connection ended; whether the request was carried out is not known.
            VmsandboxError: the error with which the agent answered.
        """
        features.check(self.peer, request)
        timed = is_traced() and features.has(self.peer, TIMED_ANSWERS)
        waiting = await self._requests.add(request, deadline, timed=timed)
        begin = time.monotonic()
        try:
            with contextlib.suppress(OSError):  # Then `run` knows why, and fails the answer.
                await self._connection.send(waiting.frame)
            answer = await waiting.answer
            if timed:
                guest_phases({part.name: part.seconds for part in answer.parts}, time.monotonic() - begin)
        finally:
            if self._requests.leave(waiting):
                self._tell(Envelope(Kind.CANCEL, waiting.number))
        if answer.kind is Kind.ERROR and answer.method == Unimplemented.code:
            raise features.lacking(self.peer, request.METHOD)
        return await outcome(request, answer)

    def acknowledge(self, number: int) -> None:
        """Tell the agent that all events up to `number` are dealt with."""
        self._tell(Envelope(Kind.ACKNOWLEDGE, number))

    def fail(self, reason: VmsandboxError) -> None:
        """Fail all that waits for an answer, and all that will ask for one."""
        self._requests.fail(reason)

    async def aclose(self) -> None:
        """End the connection, and fail what still waits for an answer on it."""
        self.fail(Unavailable("the session with the agent was closed"))
        await self._connection.aclose()

    async def _receive(self, on_event: Callable[[Envelope], None]) -> VmsandboxError:
        try:
            while (payload := await self._connection.receive(self._requests.answer_limit)) is not None:
                envelope = await self._read(payload)
                with self._share.charged():
                    if envelope.kind is Kind.GOODBYE:
                        return Goodbye(f"the agent closed the connection: {first_line(str(envelope.body))}")
                    self._dispatch(envelope, on_event)
            return Unavailable("the connection to the agent ended")
        except OSError as error:
            return Unavailable(f"the connection to the agent broke: {error.strerror or error}")
        except ProtocolError as error:
            return Unavailable(f"the agent broke the protocol: {first_line(str(error))}")

    async def _read(self, payload: bytes) -> Envelope:
        """Parse a frame. A large one may take tens of milliseconds: too long for one turn of the event loop."""
        if len(payload) > AGENT_FRAME:
            self._share.charge(_SECONDS_PER_LARGE_FRAME)
            if (brackets := payload.count(b"[") + payload.count(b"{")) > MAX_BRACKETS:
                raise ProtocolError(f"a frame of {len(payload)} bytes has {brackets} arrays and objects")
            return await asyncio.to_thread(_envelope, payload)
        with self._share.charged():
            return _envelope(payload)

    def _dispatch(self, envelope: Envelope, on_event: Callable[[Envelope], None]) -> None:
        if envelope.kind is Kind.EVENT:
            self._share.charge(_SECONDS_PER_EVENT)
            on_event(envelope)
        elif envelope.kind in (Kind.RESPONSE, Kind.ERROR):
            self._requests.settle(envelope)
        else:
            raise ProtocolError(f"an agent must not send {envelope.kind.value}")

    def _tell(self, envelope: Envelope) -> None:
        if self._requests.ended is None:
            with contextlib.suppress(ProtocolError):  # It does not read; its requests meet their deadlines.
                self._connection.send_soon(pack_json(encode(envelope)))


def _envelope(payload: bytes) -> Envelope:
    try:
        return decode(Envelope, parse_json(payload))
    except MalformedMessage as error:
        raise ProtocolError(str(error)) from None
