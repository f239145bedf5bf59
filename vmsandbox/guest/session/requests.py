"""The requests of one control connection that the agent has not answered yet."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from vmsandbox.errors import InvalidArgument, Unavailable, VmsandboxError
from vmsandbox.guest.session.untrusted_text import error_from_guest, first_line
from vmsandbox.protocol.codec import MalformedMessage, decode, encode
from vmsandbox.protocol.framing import ProtocolError, pack_json
from vmsandbox.protocol.messages import AGENT_FRAME, LARGE_ANSWERS, Envelope, Kind, Request

MAX_REQUESTS = 64
"""Requests that the agent has not answered, given up ones included; it takes no more (docs/protocol.md)."""


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A request, and the answer that its caller waits for."""

    number: int
    request: Request
    frame: bytes
    """The frame for the agent."""
    answer: asyncio.Future[Envelope]


class Requests:
    """Numbers requests and gives every answer to its caller, until the connection ends."""

    def __init__(self) -> None:
        """No request is on its way."""
        self.ended: VmsandboxError | None = None
        """Why nothing is answered any more."""
        self._slots = asyncio.Semaphore(MAX_REQUESTS)
        self._unanswered: dict[int, PendingRequest] = {}
        self._last_id = 0

    async def add(self, request: Request, deadline: float, *, timed: bool = False) -> PendingRequest:
        """Wait until the agent takes another request, and number this one. The caller sends it, and may `leave`.

        Args:
            request: its dataclass names that of the result.
            deadline: `time.monotonic` at which the caller stops waiting; the agent is told what is left of it.
            timed: whether the answer is to tell how long its parts took; only for an agent with that feature.

        Raises:
            InvalidArgument: the request is larger than a frame, or beyond its bounds.
            VmsandboxError: the connection has ended.
        """
        await self._slots.acquire()
        try:
            if self.ended is not None:
                raise _copy(self.ended)
            frame = _frame(self._last_id + 1, request, deadline, timed)
        except BaseException:
            self._slots.release()
            raise
        self._last_id += 1
        waiting = PendingRequest(self._last_id, request, frame, asyncio.get_running_loop().create_future())
        self._unanswered[waiting.number] = waiting
        return waiting

    def settle(self, envelope: Envelope) -> None:
        """Give an answer to the caller that waits for it. Raises ProtocolError where nobody waits."""
        waiting = self._unanswered.get(envelope.id)
        if waiting is None:
            raise ProtocolError(f"an answer to request {envelope.id}, which is not waiting for one")
        del self._unanswered[envelope.id]
        self._slots.release()
        if not waiting.answer.done():
            waiting.answer.set_result(envelope)

    def answer_limit(self) -> int:
        """Bytes that a frame of the agent may have now: more only while an answer is due that may be large."""
        due = (LARGE_ANSWERS.get(waiting.request.METHOD, 0) for waiting in self._unanswered.values())
        return max(due, default=0) or AGENT_FRAME

    def leave(self, waiting: PendingRequest) -> bool:
        """Note that the caller does not wait any more. Return whether an answer of the agent is still to come."""
        if waiting.number in self._unanswered:
            waiting.answer.cancel()
            return True
        if waiting.answer.done() and not waiting.answer.cancelled():
            waiting.answer.exception()  # Seen, even if the caller was cancelled at the same moment.
        return False

    def fail(self, reason: VmsandboxError) -> None:
        """Fail all that waits for an answer, and all that will ask for one. The first reason counts."""
        if self.ended is not None:
            return
        self.ended = reason
        unanswered, self._unanswered = self._unanswered, {}
        for waiting in unanswered.values():
            self._slots.release()
            if not waiting.answer.done():
                waiting.answer.set_exception(_copy(reason))


def _frame(number: int, request: Request, deadline: float, timed: bool) -> bytes:
    left = max(deadline - time.monotonic(), 0.001)
    body = encode(request)
    try:
        decode(type(request), body, request.METHOD)  # Its bounds hold on both ends.
        return pack_json(encode(Envelope(Kind.REQUEST, number, request.METHOD, body, left, timed)))
    except MalformedMessage as error:
        raise InvalidArgument(str(error)) from None
    except ProtocolError as error:
        raise InvalidArgument(f"{request.METHOD} is too large: {error}") from None


def _copy(error: VmsandboxError) -> VmsandboxError:
    """Every caller gets an error of its own, to add its step to."""
    return type(error)(error.message, hint=error.hint, evidence=error.evidence)


async def outcome(request: Request, answer: Envelope) -> Any:
    """The decoded result of a request.

    Raises:
        Unavailable: the answer is malformed.
        VmsandboxError: the error that it is.
    """
    if answer.kind is Kind.ERROR:
        raise error_from_guest(answer.method, answer.body)
    try:
        if request.METHOD in LARGE_ANSWERS:
            return await asyncio.to_thread(decode, request.RESULT, answer.body, request.METHOD)
        return decode(request.RESULT, answer.body, request.METHOD)
    except MalformedMessage as error:
        raise Unavailable(f"the agent gave a malformed answer: {first_line(str(error))}") from None
