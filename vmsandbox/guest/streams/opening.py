"""Opening streams on the agent's stream port, and opening them again after a loss."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable

from vmsandbox.errors import DeadlineExceeded, Unavailable, VmsandboxError
from vmsandbox.guest.session import RunState, Session
from vmsandbox.guest.transport import GuestConnection
from vmsandbox.protocol.codec import encode
from vmsandbox.protocol.framing import STREAM_CHUNK, pack_json
from vmsandbox.protocol.messages import STREAM_PORT, OpenPort, OpenStream

OPEN_DEADLINE = 30.0
"""Seconds for getting a token, dialling and presenting it."""

MAX_FAILURES = 8
"""Openings in a row without a byte on a session that is connected; then the stream is given up."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds before a lost stream is opened again, at most. The pause doubles while losses follow within `_SOON`, also of
streams that have given something: a guest can end each after one byte. Tenacity's pauses would begin again with each
stream that could be opened."""
_SOON = 10.0


async def open_stream(session: Session, request: OpenStream | OpenPort) -> GuestConnection:
    """A connection that carries the stream asked for; the caller closes it.

    Raises:
        Unavailable: the guest cannot be reached now.
        DeadlineExceeded: it took longer than `OPEN_DEADLINE`.
        VmsandboxError: what the agent answered.
    """
    of_container = isinstance(request, OpenStream) and not request.exec_id
    share = session.log_share if of_container else session.share
    token = await session.request(request, OPEN_DEADLINE)
    try:
        async with session.within(OPEN_DEADLINE):
            dialled = await session.transport.dial(STREAM_PORT)
            connection = session.own(GuestConnection(*dialled, STREAM_CHUNK, share))
    except TimeoutError:
        if session.state is RunState.CLOSED:
            raise await session.wait_closed() from None
        raise DeadlineExceeded(
            f"the guest of {session.name} did not take a stream within {OPEN_DEADLINE:g} s"
        ) from None
    connection.send_soon(pack_json(encode(token)))
    return connection


class Reopening:
    """Opens a stream as often as it is lost, until the session is closed or the stream cannot be opened."""

    def __init__(self, name: str, session: Session, open_once: Callable[[], Awaitable[GuestConnection]]) -> None:
        """`open_once` opens the stream at the position it has reached."""
        self._name = name
        self._session = session
        self._open_once = open_once
        self._failures = 0
        self._losses = 0
        self._lost_at = -math.inf

    async def open(self) -> GuestConnection:
        """A connection; the caller closes it.

        Raises:
            Unavailable: the session is closed, or the stream ends every time before it gives anything.
            VmsandboxError: the agent's refusal.
        """
        while True:
            await self._session.connected()
            try:
                return await self._open_once()
            except (Unavailable, DeadlineExceeded) as error:
                await self.lost(error)

    def progressed(self) -> None:
        """Something came through, so that the next loss is the first one again."""
        self._failures = 0

    async def lost(self, reason: Exception) -> None:
        """Pause after a loss, so that a guest that hangs up does not busy the host; or give up."""
        if self._session.state is RunState.CONNECTED:
            self._failures += 1
        if self._failures >= MAX_FAILURES:
            raise Unavailable(f"{self._name}: given up after {self._failures} attempts: {_text(reason)}")
        now = time.monotonic()
        self._losses = self._losses + 1 if now - self._lost_at < _SOON else 0
        self._lost_at = now
        longest = min(_FIRST_PAUSE * 2 ** min(self._losses, 10), _LONGEST_PAUSE)
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - jitter


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, VmsandboxError) else f"{type(error).__name__}: {error}"
