"""A container's log, written in a thread: a disk that is slow or hangs holds back its container, not the event loop."""

import asyncio
from collections.abc import Callable

from vmsandbox.errors import DeadlineExceeded
from vmsandbox.fairness import PART, TimeShare
from vmsandbox.fs import lane
from vmsandbox.fs.foreign import DEADLINE
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams.logs import ContainerLog

LOG_RATE = 64 * 1024 * 1024
"""Bytes a second that the logs of all containers grow by where the containers print as fast as they are let.

It bounds bytes and lines at once, since every line has a head: it is 1.6 million empty lines, or, with what the frames
cost that bring them, 22 MiB of lines of 100 bytes. The kubelet rotates a log only so often, and all of it has to fit on
the disk until then.
"""

_SECONDS_PER_CALL = 100e-6
"""The assumed cost of a call for the event loop, in addition to the bytes."""

_LANE = lane.Lane("log")
"""One thread for all logs; a disk that hangs keeps the logs on it waiting, and the others for a moment alone."""


class LogWriter:
    """Writes one log, one call after the other; each is charged to the share of the container's guest."""

    def __init__(self, log: ContainerLog, share: TimeShare) -> None:
        """Own `log`."""
        self._log = log
        self._share = share
        self._turn = asyncio.Lock()
        self._call: asyncio.Future[int] | None = None
        self._closed = False

    def offset(self, stream: Stream) -> int:
        """Bytes of the stream that the log holds; see `ContainerLog.offset`."""
        return self._log.offset(stream)

    async def write(self, stream: Stream, data: bytes) -> None:
        """See `ContainerLog.write`."""
        await self._in_thread(lambda: self._log.write(stream, data))

    async def end(self, stream: Stream) -> None:
        """See `ContainerLog.end`."""
        await self._in_thread(lambda: self._log.end(stream))

    async def reopen(self) -> None:
        """See `ContainerLog.reopen`, which says what is raised. Do nothing once the log is closed.

        Raises:
            DeadlineExceeded: the log's file system does not answer; the log is reopened when it does.
        """
        try:
            async with asyncio.timeout(DEADLINE):
                await self._in_thread(self._log.reopen)
        except TimeoutError:
            raise DeadlineExceeded(
                f"the log {self._log.path} did not answer within {DEADLINE:g} s",
                hint="check that its file system answers",
            ) from None

    def close(self) -> None:
        """Close the log in the thread, as soon as a call that was cancelled meanwhile has left it.

        A file system may take long for it: one of a network writes what it has kept, another frees a removed file.
        """
        self._closed = True
        if self._call is None or self._call.done():
            _LANE.submit(self._log.close)
        else:
            self._call.add_done_callback(lambda _: _LANE.submit(self._log.close))

    async def _in_thread(self, work: Callable[[], int]) -> None:
        """Carry `work` out. Cancelling leaves it to its end in its thread; the next call waits for that."""
        async with self._turn:
            if self._call is not None:
                await _until_done(self._call)
            if self._closed:
                return
            self._call = asyncio.wrap_future(_LANE.submit(work))
            self._call.add_done_callback(lambda call: call.cancelled() or call.exception())  # Seen, if nobody waits.
            await _until_done(self._call)
            written = self._call.result()
            self._share.charge(_SECONDS_PER_CALL + written * PART / LOG_RATE)


async def _until_done(call: "asyncio.Future[int]") -> None:
    """Wait for a call; not for long, where the one that hangs is another, in front of it."""
    while not (await asyncio.wait([call], timeout=lane.STUCK))[0]:
        _LANE.relieve()
