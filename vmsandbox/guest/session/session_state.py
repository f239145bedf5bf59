"""The run state of a session, which is explicit, and those who wait for it to change.

It is IDLE, then CONNECTING, CONNECTED, LOST (and CONNECTED again), at last CLOSED, which is final.
"""

import asyncio
import enum

from vmsandbox import log
from vmsandbox.errors import FailedPrecondition, Unavailable, VmsandboxError
from vmsandbox.guest.session.control import Control
from vmsandbox.protocol.messages import HelloReply
from vmsandbox.telemetry.declared import AGENT_CONNECTIONS_LOST

_log = log.get(__name__)


class RunState(enum.Enum):
    """The states of a session."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    LOST = "lost"
    CLOSED = "closed"


class SessionState:
    """The state of one session, with its connection while there is one, and the reason while there is none."""

    def __init__(self, name: str) -> None:
        """Be IDLE. `name` is that of the sandbox, for messages; it may change."""
        self.name = name
        self.now = RunState.IDLE
        self.control: Control | None = None
        self.peer: HelloReply | None = None
        """The agent's description of itself in the last hello."""
        self.reason: VmsandboxError | None = None
        """Why the connection was lost, or the session closed."""
        self._lost: Control | None = None
        """The connection that was lost last, while it is not known why."""
        self._changed = asyncio.Event()

    def begin(self) -> None:
        """Be CONNECTING. Raises FailedPrecondition unless it is IDLE."""
        if self.now is not RunState.IDLE:
            raise FailedPrecondition(f"the session with {self.name} is {self.now.value}")
        self._set(RunState.CONNECTING)

    def give_up(self) -> None:
        """Be IDLE again, after CONNECTING."""
        if self.now is RunState.CONNECTING:
            self._set(RunState.IDLE)

    def connect(self, control: Control) -> None:
        """Be CONNECTED."""
        self.peer = control.peer
        self.control = control
        self._set(RunState.CONNECTED)

    def lose(self, control: Control, reason: VmsandboxError) -> None:
        """Be LOST. Requests on their way wait until `fail_lost` or `close`, and new ones for the next connection."""
        _log.info("%s: the connection is lost: %s", self.name, reason)
        AGENT_CONNECTIONS_LOST.add()
        self.control, self._lost = None, control
        self.reason = reason
        self._set(RunState.LOST)

    def fail_lost(self, reason: VmsandboxError) -> None:
        """Have requests that were on their way fail, now that it is known why."""
        if self._lost is not None:
            self._lost.fail(reason)
        self._lost = None

    def close(self, reason: VmsandboxError) -> None:
        """Be CLOSED; all requests fail. The first reason counts."""
        if self.now is RunState.CLOSED:
            return
        controls = (self.control, self._lost)
        self.control = self._lost = None
        self.reason = reason
        self._set(RunState.CLOSED)
        for control in filter(None, controls):
            control.fail(self.unavailable())

    async def connected(self) -> Control:
        """Wait for the connection, for as long as the session is not closed. Raises Unavailable when it is."""
        while self.control is None:
            if self.now in (RunState.IDLE, RunState.CLOSED):
                raise self.unavailable()
            await self._changed.wait()
        return self.control

    async def closed(self) -> VmsandboxError:
        """Return when it is CLOSED, with the reason."""
        while self.now is not RunState.CLOSED:
            await self._changed.wait()
        return self.unavailable()

    def unavailable(self) -> VmsandboxError:
        """Return the error of those who need the agent, and do not get it."""
        reason = self.reason
        if isinstance(reason, Unavailable):
            return type(reason)(f"the agent of {self.name}: {reason}", hint=reason.hint, evidence=reason.evidence)
        return Unavailable(f"the session with {self.name} is {self.now.value}{f': {reason}' if reason else ''}")

    def lately(self) -> str:
        """Return the end of a message: the reason, while there is no connection."""
        return f"; last seen: {self.reason}" if self.reason is not None and self.control is None else ""

    def _set(self, state: RunState) -> None:
        self.now = state
        self._changed.set()
        self._changed = asyncio.Event()
