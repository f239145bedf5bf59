"""The session with one guest's agent: a control connection that comes back for as long as its owner wants.

Its run state is explicit (`session_state`): IDLE, CONNECTING, CONNECTED, LOST (and CONNECTED again), at last CLOSED.

- A request on its way when the connection is lost fails with Unavailable, which names the cause: whether it was
  carried out is not known.
- A request made while the connection is LOST waits for the next one, up to its own deadline.
- CLOSED is final. The owner closes a session; it closes itself when the transport is broken, when the agent said
  goodbye (it shuts down, or another controller has taken over), when another boot of the guest answers, when its
  agent does not speak our protocol any more, or when an event could not be handled.
"""

import asyncio
import contextlib
import random
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from vmsandbox import aio
from vmsandbox import log as logs
from vmsandbox.errors import DeadlineExceeded, Internal, Unavailable, VmsandboxError
from vmsandbox.fairness import Fairness, TimeShare
from vmsandbox.guest.session.control import Control, Goodbye
from vmsandbox.guest.session.dialing import dial_until_answered, dial_within
from vmsandbox.guest.session.events import EventHandler, EventPump
from vmsandbox.guest.session.handshake import exchange_hellos
from vmsandbox.guest.session.session_state import RunState, SessionState
from vmsandbox.guest.transport import GuestConnection, Transport, TransportBroken
from vmsandbox.protocol.messages import VERSIONS, Hello, HelloReply, Request
from vmsandbox.protocol.secret import random_bytes
from vmsandbox.telemetry import outcome
from vmsandbox.telemetry.declared import AGENT_REQUESTS, AGENT_SECONDS

log = logs.get(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
"""Seconds before a lost connection is dialled again, at most. The pause doubles with every connection that was lost
within `_LONGEST_PAUSE`, so that a guest that hangs up, or breaks the protocol, does not busy the host."""


Explain = Callable[[VmsandboxError], Awaitable[VmsandboxError]]


class Session:
    """A context: entering does nothing yet, `connect` dials, leaving ends the connection and all its tasks."""

    def __init__(
        self,
        transport: Transport,
        name: str,
        handler: EventHandler,
        *,
        build: str = "",
        acknowledged: int = 0,
        fairness: Fairness | None = None,
        explain: Explain | None = None,
        secret: bytes = b"",
    ) -> None:
        """Make a session that is IDLE.

        Args:
            transport: stays the caller's.
            name: of the sandbox, for messages.
            handler: awaited for every event, in order and one at a time; an event is acknowledged when it
                returns, so one may come again after a crash. When it raises, the session closes.
            build: build id of our guest image's agent; `peer.build` says which one answered.
            acknowledged: number of the last event that was handled in an earlier session; 0 gets all that
                the agent still keeps.
            fairness: divides the process's time among guests; None: there is no other.
            explain: has a moment to find out why a connection was lost, before requests on their way fail of it.
            secret: of the machine, which both ends prove to know; empty: it was started without one.
        """
        self.transport = transport
        self.share = TimeShare(fairness)
        """Charged for what the guest answers and tells, and for commands and ports."""
        self.log_share = TimeShare(fairness)
        """Charged for what containers print, which is not to delay what a client asks for."""
        self._build = build
        self._explain = explain or _as_it_is
        self._secret = secret
        self._pump = EventPump(handler, acknowledged)
        self._state = SessionState(name)
        self._task: asyncio.Task[None] | None = None
        self._ending = False
        self._streams: weakref.WeakSet[GuestConnection] = weakref.WeakSet()
        self._dialling: set[asyncio.Timeout] = set()

    @property
    def state(self) -> RunState:
        """The state of the session."""
        return self._state.now

    @property
    def name(self) -> str:
        """The name of the sandbox, for messages."""
        return self._state.name

    def rename(self, name: str) -> None:
        """Have messages name another sandbox from now on."""
        self._state.name = name

    @property
    def peer(self) -> HelloReply | None:
        """The agent's description of itself in the last hello."""
        return self._state.peer

    @property
    def reason(self) -> VmsandboxError | None:
        """Why the connection was lost, or the session closed."""
        return self._state.reason

    async def __aenter__(self) -> Self:
        """The session itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()

    async def connect(self, deadline: float) -> HelloReply:
        """Dial the booting guest until its agent answers. On failure the session is IDLE again.

        Args:
            deadline: seconds. A caller that learns of the machine's death meanwhile cancels.

        Raises:
            DeadlineExceeded: no answer; the message says what was seen last.
            TransportBroken: there is no way to the guest any more.
            FailedPrecondition: the agent does not speak our protocol, or the session is not IDLE.
        """
        self._state.begin()
        try:
            control = await dial_within(deadline, self.transport, self._greet, self.share, self.name)
        except BaseException:
            self._state.give_up()
            raise
        if self.state is not RunState.CONNECTING:
            await control.aclose()
            raise self._state.unavailable()
        self._state.connect(control)
        self._compare_builds(control.peer)
        self._task = asyncio.create_task(self._supervise(control), name=f"session with {self.name}")
        return control.peer

    async def request(self, request: Request, deadline: float) -> Any:
        """Have the agent carry a request out, and return its result.

        Args:
            request: one of `messages.Request`.
            deadline: seconds, for waiting and carrying out together.

        Raises:
            DeadlineExceeded: it took longer; the guest was told to give up.
            Unavailable: the connection was lost meanwhile, or the session is closed.
            VmsandboxError: what the agent answered.
        """
        end = time.monotonic() + deadline
        try:
            with outcome(f"agent: {request.METHOD}", AGENT_REQUESTS, AGENT_SECONDS, request.METHOD):
                async with asyncio.timeout(deadline):
                    return await (await self.connected()).call(request, end)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{request.METHOD} in the guest of {self.name} did not end within {deadline:g} s{self._state.lately()}"
            ) from None

    @contextlib.asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Give the body `seconds`, and no longer than until `end`. Raises TimeoutError."""
        async with asyncio.timeout(seconds) as timeout:
            self._dialling.add(timeout)
            try:
                yield
            finally:
                self._dialling.discard(timeout)

    def own(self, connection: GuestConnection) -> GuestConnection:
        """A connection for a stream, which stays its user's to close: `end` breaks it off."""
        self._streams.add(connection)
        return connection

    def expect_end(self) -> None:
        """The agent is about to end the connection, which then closes the session: it is told to shut down."""
        self._ending = True

    async def connected(self) -> Control:
        """Wait for the connection, for as long as the session is not closed. Raises Unavailable when it is."""
        return await self._state.connected()

    async def wait_closed(self) -> VmsandboxError:
        """Return when the session has closed, with the reason; the sandbox's watch calls this."""
        return await self._state.closed()

    def end(self, reason: VmsandboxError) -> None:
        """The machine is gone: all who wait for its agent fail with the reason, and nobody dials any more.

        Streams are broken off: a vsock daemon may leave the connections to a dead guest open.
        """
        if self._task is not None:
            self._task.cancel()
        self._state.close(reason)
        for stream in tuple(self._streams):
            stream.abort()
        for timeout in tuple(self._dialling):
            timeout.reschedule(asyncio.get_running_loop().time())

    async def aclose(self) -> None:
        """Close the session; its pending requests fail with Unavailable. Can be repeated."""
        task, self._task = self._task, None
        control = self._state.control
        self._state.close(Unavailable("it was closed"))
        if task is not None:
            task.cancel()
            # Not `aio.cancel`: the caller may be an event's handler, which the task cancels.
            await asyncio.wait([task])
        if control is not None:
            await control.aclose()  # Again, for a task that was cancelled before it began.

    async def _greet(self, connection: GuestConnection) -> HelloReply:
        nonce = random_bytes().hex() if self._secret else ""
        hello = Hello(VERSIONS, self._build, self._pump.acknowledged, nonce)
        return await exchange_hellos(connection, hello, self._secret)

    async def _supervise(self, control: Control) -> None:
        """Own the connections and the event pump until the session closes."""
        pumping, keeping = self._pump.run(self._acknowledge), self._keep_connected(control)
        async with aio.background(pumping) as pump, aio.background(keeping) as keep:
            done, _ = await asyncio.wait([pump, keep], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is not None:
                    self._state.close(_cause(error))

    async def _keep_connected(self, control: Control) -> None:
        """Receive, and reconnect after every loss. Closes the session, or raises the error to close it for."""
        pause = 0.0
        while True:
            begin = time.monotonic()
            async with contextlib.aclosing(control):
                self._check_same_boot(control.peer)
                self._state.connect(control)
                reason = await self._why_ended(control, await control.run(self._pump.connected()))
                if self._ending or isinstance(reason, Goodbye | TransportBroken):
                    self._state.close(reason)
                    return
                self._state.fail_lost(reason)
            # Not tenacity's, whose pauses grow with the attempts that fail: this one knows how long a success lasted.
            lasted = time.monotonic() - begin > _LONGEST_PAUSE
            pause = _FIRST_PAUSE if lasted else min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter
            control = await dial_until_answered(self.transport, self._greet, self.share)

    async def _why_ended(self, control: Control, reason: VmsandboxError) -> VmsandboxError:
        """Why a connection has ended; while that is found out, it is LOST."""
        if self._ending or isinstance(reason, Goodbye):
            return reason
        self._state.lose(control, reason)
        return await self._explain(reason)

    def _check_same_boot(self, peer: HelloReply) -> None:
        if self.peer is not None and peer.boot_id != self.peer.boot_id:
            raise Unavailable("the guest has restarted, and its containers are gone")

    def _compare_builds(self, peer: HelloReply) -> None:
        if self._build and peer.build != self._build:
            log.info(
                "%s: its agent is of another version of vmsandbox (build %s, protocol version %d)",
                self.name, peer.build, peer.version,
            )  # fmt: skip

    def _acknowledge(self, number: int) -> None:
        if self._state.control is not None:
            self._state.control.acknowledge(number)


async def _as_it_is(reason: VmsandboxError) -> VmsandboxError:
    return reason


def _cause(error: BaseException) -> VmsandboxError:
    if isinstance(error, VmsandboxError):
        return error
    log.error("an event could not be handled", exc_info=error)
    return Internal(f"an event of the agent could not be handled: {error!r}")
