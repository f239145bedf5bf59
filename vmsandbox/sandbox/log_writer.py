"""A container's log, written in a thread: a disk that is slow or hangs holds back its container, not the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from vmsandbox.fairness import PART, Share
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.logs import ContainerLog

LOG_RATE = 64 * 1024 * 1024
"""Bytes a second that the logs of all containers grow by where the containers print as fast as they are let.

It bounds bytes and lines at once, since every line has a head: it is 1.6 million empty lines, or, with what the frames
cost that bring them, 22 MiB of lines of 100 bytes. The kubelet rotates a log only so often, and all of it has to fit on
the disk until then.
"""

_SECONDS_PER_CALL = 100e-6
"""What a call is taken to cost the event loop, beside what is written."""

_THREAD = ThreadPoolExecutor(1, thread_name_prefix="log")
"""One thread of their own for all logs: a disk that hangs keeps logs waiting, and nobody else. Several threads would
write no more, and compete with the event loop's."""


class LogWriter:
    """Writes one log, one call after the other; each is charged to the share of the container's guest."""

    def __init__(self, log: ContainerLog, share: Share) -> None:
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
        """See `ContainerLog.reopen`, which says what is raised. Do nothing once the log is closed."""
        await self._in_thread(self._log.reopen)

    def close(self) -> None:
        """Close the log, as soon as a call that was cancelled meanwhile has left it."""
        self._closed = True
        if self._call is None or self._call.done():
            self._log.close()
        else:
            self._call.add_done_callback(lambda _: self._log.close())

    async def _in_thread(self, work: Callable[[], int]) -> None:
        """Carry `work` out. Cancelling leaves it to its end in its thread; the next call waits for that."""
        async with self._turn:
            if self._call is not None:
                await asyncio.wait([self._call])
            if self._closed:
                return
            self._call = asyncio.get_running_loop().run_in_executor(_THREAD, work)
            written = await asyncio.shield(self._call)
            self._share.charge(_SECONDS_PER_CALL + written * PART / LOG_RATE)
