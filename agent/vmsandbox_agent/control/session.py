"""The controller's connection: hello, then requests that run side by side, each with its deadline."""

import asyncio
import contextlib
import os
import time
import traceback
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from vmsandbox.protocol.codec import MalformedMessage, decode, encode
from vmsandbox.protocol.features import features_of
from vmsandbox.protocol.framing import ProtocolError, pack_json, parse_json
from vmsandbox.protocol.messages import (
    AGENT_FRAME,
    ERROR_TEXT,
    FEATURES_NAMED,
    LARGE_ANSWERS,
    REQUESTS,
    VERSIONS,
    Envelope,
    Hello,
    HelloProof,
    HelloReply,
    Kind,
    TimedPart,
)
from vmsandbox.protocol.secret import End, prove, proves, random_bytes
from vmsandbox_agent import console
from vmsandbox_agent.errors import AgentError, describe
from vmsandbox_agent.events import EventLog
from vmsandbox_agent.settings import HELLO_FRAME, HELLO_TIMEOUT, MAX_DEADLINE, MAX_REQUESTS, Settings
from vmsandbox_agent.streams import HostConnection
from vmsandbox_agent.timing import timed

T = TypeVar("T")

Handler = Callable[[Any], Coroutine[Any, Any, object]]
"""Carries a request out; gives the dataclass of its result."""

_GOODBYE_TIMEOUT = 1.0


async def read_hello(connection: HostConnection) -> Hello:
    """The first frame of a controller.

    Raises:
        ProtocolError: it is not a hello, or did not come in time.
    """
    return await _first(connection, Hello)


async def _first(connection: HostConnection, kind: type[T]) -> T:
    """One of the frames that come before envelopes. Raises as `read_hello`."""
    try:
        async with asyncio.timeout(HELLO_TIMEOUT):
            frame = await connection.frame(HELLO_FRAME)
        return decode(kind, parse_json(frame or b""))
    except TimeoutError:
        raise ProtocolError(f"no hello within {HELLO_TIMEOUT:g} s") from None
    except MalformedMessage as error:
        raise ProtocolError(str(error)) from None


def reply_to(hello: Hello, settings: Settings, started: float, methods: Collection[str]) -> HelloReply:
    """Build the agent's hello.

    Args:
        hello: of the host.
        settings: with the machine's secret.
        started: the uptime at which the agent began to run.
        methods: that it has.

    Raises:
        ProtocolError: the machine has a secret, and the host does not ask for a proof of it.
    """
    secret, nonce = settings.secret, ""
    if secret:
        if not hello.nonce:
            raise ProtocolError("this machine has a secret, which a controller has to know")
        nonce = random_bytes().hex()
    version = max({*VERSIONS} & {*hello.versions}, default=0)
    return HelloReply(
        version=version,
        build=settings.build,
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        kernel=os.uname().release,
        uptime=time.clock_gettime(time.CLOCK_BOOTTIME),
        agent_started=started,
        nonce=nonce,
        proof=prove(secret, End.AGENT, hello.nonce, nonce) if secret else "",
        features=features_of(methods) if version >= FEATURES_NAMED else (),
    )


async def check_proof(connection: HostConnection, secret: bytes, hello: Hello, reply: HelloReply) -> None:
    """Read the frame in which the host proves that it knows the machine's secret.

    Raises:
        ProtocolError: it does not, or not in time.
    """
    proof = await _first(connection, HelloProof)
    if not proves(proof.proof, secret, End.HOST, hello.nonce, reply.nonce):
        raise ProtocolError("the controller does not know this machine's secret")


async def say_goodbye(connection: HostConnection, reason: str) -> None:
    """Tell the peer why the connection ends, if it listens."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_TIMEOUT):
            await connection.send(pack_json(encode(Envelope(Kind.GOODBYE, body=reason[:ERROR_TEXT]))))


class HostSession:
    """The requests of one controller. It ends with the connection, and then cancels requests that still run."""

    def __init__(self, connection: HostConnection, handlers: Mapping[str, Handler], events: EventLog) -> None:
        """Serve the requests in `handlers` on a connection whose hello is done."""
        self._connection = connection
        self._handlers = handlers
        self._events = events
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[int, asyncio.Task[object]] = {}
        self._news = asyncio.Event()

    async def run(self, acknowledged: int) -> None:
        """Serve until the peer ends the connection; events after `acknowledged` are sent again.

        Raises:
            ProtocolError: the peer broke the protocol.
        """
        self._events.acknowledge(acknowledged)
        self._events.listen(self._news.set)
        self._start(self._send_events())
        try:
            async for frame in self._connection.frames():
                self._receive(_envelope(frame))
        finally:
            self._events.listen(None)
            await self._cancel_all()

    async def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_events(self) -> None:
        sent = 0
        while True:
            self._news.clear()
            for event in self._events.after(sent):
                await self._send(event)
                sent = event.id
            await self._news.wait()

    def _receive(self, envelope: Envelope) -> None:
        match envelope.kind:
            case Kind.REQUEST:
                self._check_request(envelope)
                self._start(self._serve(envelope))
            case Kind.CANCEL:
                if (running := self._running.get(envelope.id)) is not None:
                    running.cancel()
            case Kind.ACKNOWLEDGE:
                self._events.acknowledge(envelope.id)
            case _:
                raise ProtocolError(f"a controller must not send {envelope.kind.value}")

    def _check_request(self, envelope: Envelope) -> None:
        if envelope.id in self._running:
            raise ProtocolError(f"request {envelope.id} is running already")
        if len(self._tasks) > 2 * MAX_REQUESTS:
            raise ProtocolError(f"{len(self._tasks)} requests are not answered yet")

    async def _serve(self, envelope: Envelope) -> None:
        await self._send(_bounded(envelope, await self._answer(envelope)))

    async def _answer(self, envelope: Envelope) -> Envelope:
        """RESPONSE or ERROR. The work is a task of its own, so that CANCEL ends it and the answer still goes out."""
        try:
            self._check_limits(envelope)
            work = asyncio.create_task(self._work(envelope))
            self._running[envelope.id] = work
            async with asyncio.timeout(min(envelope.deadline, MAX_DEADLINE)):
                result, parts = await work
            return Envelope(Kind.RESPONSE, envelope.id, body=encode(result), parts=parts if envelope.timed else ())
        except TimeoutError:
            message = f"{envelope.method} did not end within {envelope.deadline:g} s"
            return _error(envelope, "deadline_exceeded", message)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            return _error(envelope, "cancelled", f"{envelope.method} was cancelled")
        except Exception as error:
            return _failed(envelope, error)
        finally:
            self._running.pop(envelope.id, None)

    def _check_limits(self, envelope: Envelope) -> None:
        if not envelope.deadline > 0:
            raise AgentError("invalid_argument", f"{envelope.method} has no deadline")
        if len(self._running) >= MAX_REQUESTS:
            raise AgentError("resource_exhausted", f"{MAX_REQUESTS} requests are running")

    async def _work(self, envelope: Envelope) -> tuple[object, tuple[TimedPart, ...]]:
        if envelope.method not in self._handlers:
            raise AgentError("unimplemented", f"the agent has no method {envelope.method!r}")
        request = decode(REQUESTS[envelope.method], envelope.body, envelope.method)
        with timed() as parts:
            result = await self._handlers[envelope.method](request)
        return result, tuple(TimedPart(name, seconds) for name, seconds in parts.items())

    async def _send(self, envelope: Envelope) -> None:
        with contextlib.suppress(OSError):  # Then the reader ends the session.
            await self._connection.send(pack_json(encode(envelope)))


def _envelope(frame: bytes) -> Envelope:
    try:
        return decode(Envelope, parse_json(frame))
    except MalformedMessage as error:
        raise ProtocolError(str(error)) from None


def _failed(envelope: Envelope, error: Exception) -> Envelope:
    if isinstance(error, MalformedMessage):
        return _error(envelope, "invalid_argument", str(error))
    code, message = describe(error)
    if code == "internal":
        console.error(f"{envelope.method} failed:\n{''.join(traceback.format_exception(error))}")
    return _error(envelope, code, message)


def _error(envelope: Envelope, code: str, message: str) -> Envelope:
    return Envelope(Kind.ERROR, envelope.id, code, message[:ERROR_TEXT])


def _bounded(request: Envelope, answer: Envelope) -> Envelope:
    """The answer, or an error where it is larger than the host takes it."""
    limit = LARGE_ANSWERS.get(request.method, AGENT_FRAME)
    size = len(pack_json(encode(answer))) if answer.kind is Kind.RESPONSE else 0
    if size <= limit:
        return answer
    return _error(request, "resource_exhausted", f"the answer to {request.method} is larger than {limit} bytes")
