"""Output of a process: read from its pipe (or pty), kept until the host has acknowledged it, sent on request."""

import asyncio
import contextlib
import fcntl
import os
import stat
import struct
import termios

from vmsandbox.protocol.framing import ProtocolError, pack
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.settings import OUTPUT_BUFFER
from vmsandbox_agent.streams.connection import CHUNK, HostConnection, parse_offset

_ACKNOWLEDGEMENT = 8
_LOW = OUTPUT_BUFFER // 2
"""Bytes kept at which reading goes on after the buffer was full."""

_LITTLE, _MUCH = CHUNK, 3 * CHUNK
_GATHERING, _LONGEST = 0.001, 0.004
"""Seconds for which a pipe that had no more than `_LITTLE` is left to fill, twice as many each time that it has no more
again: most programs write 4 KiB or a line at a time, and a piece of that takes the agent and the host as long as one of
16 KiB. The first piece after a silence goes at once. A program that has written `_MUCH` meanwhile is not kept waiting.
"""


class ProcessOutput:
    """The bytes of one stream from `start` on; holds `OUTPUT_BUFFER` of them and then lets the writer block.

    Owns its file descriptor, and closes it at the end of file.
    """

    def __init__(self, fd: int) -> None:
        """Read `fd`, a pipe or the master of a pty, from now on."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._buffer = bytearray()
        self._start = 0
        self._left: int | None = None
        self._gathers = stat.S_ISFIFO(os.fstat(fd).st_mode)  # a terminal gives 4 KiB at most, and somebody waits for it
        self._reading = False
        self._full = False
        self._gathering: asyncio.TimerHandle | None = None
        self._patience = 0.0
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._server: asyncio.Task[None] | None = None
        self._read_or_wait()

    @property
    def end(self) -> int:
        """The position after the last byte that was read."""
        return self._start + len(self._buffer)

    @property
    def taken(self) -> bool:
        """Whether the stream has ended and the host acknowledged all of it."""
        return self._ended.is_set() and not self._buffer

    def open(self, offset: int) -> None:
        """Prepare for serving from `offset` on: end who is served, and drop what lies before.

        Raises:
            AgentError: the bytes at `offset` were acknowledged, or do not exist yet.
        """
        if not self._start <= offset <= self.end:
            raise AgentError("invalid_argument", f"offset {offset} is not held, only {self._start} to {self.end} are")
        self.stop_serving()
        self._acknowledge(offset)

    def stop_serving(self) -> None:
        """End the connection that the stream is being sent on, if there is one."""
        if self._server is not None:
            self._server.cancel()

    async def serve(self, connection: HostConnection) -> None:
        """Send the stream from its first held byte to its end, and take acknowledgements, while the peer stays."""
        self._server = asyncio.current_task()
        sender = asyncio.create_task(self._send(connection))
        try:
            async for payload in connection.frames(_ACKNOWLEDGEMENT):
                self._acknowledge(parse_offset(payload))
                if self.taken:
                    break
            if not self.taken:
                return
            await sender
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sender

    async def drain(self, grace: float | None) -> None:
        """Return when all of the stream has been read.

        Args:
            grace: seconds after which, without its end (a child of the process holds the pipe), what the pipe holds
                then is taken for the rest; None waits for the end, or for `finish`.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._ended.wait()
        self.finish()
        await self._ended.wait()

    def finish(self) -> None:
        """Read what the pipe holds, and take that for the end."""
        if not self._ended.is_set() and self._left is None:
            self._end_after(_available(self._fd))

    def cut(self) -> None:
        """End the stream after what is read so far; for a container that is being deleted."""
        self._end()

    async def _send(self, connection: HostConnection) -> None:
        position = self._start
        while True:
            self._news.clear()
            index = position - self._start
            chunk = bytes(self._buffer[index : index + CHUNK])
            if chunk:
                await connection.send(pack(chunk))
                position += len(chunk)
            elif self._ended.is_set():
                await connection.send(pack(b""))
                return
            else:
                await self._news.wait()

    def _acknowledge(self, offset: int) -> None:
        if offset > self.end:
            raise ProtocolError(f"acknowledged up to {offset}, but the stream has only {self.end} bytes")
        if offset > self._start:
            del self._buffer[: offset - self._start]
            self._start = offset
            if len(self._buffer) <= _LOW:  # so that a full pipe is read in large pieces
                self._full = False
                self._read_or_wait()

    def _read(self) -> None:
        room = OUTPUT_BUFFER - len(self._buffer)
        try:
            data = os.read(self._fd, room if self._left is None else min(room, self._left))
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody holds the other side of the pty any more
            data = b""
        self._buffer += data
        self._news.set()
        if not data:
            self._end()
        elif self._left is not None:
            self._end_after(self._left - len(data))
        elif self._gathers:
            self._gather(len(data))
        self._full = len(self._buffer) >= OUTPUT_BUFFER
        self._read_or_wait()

    def _gather(self, read: int) -> None:
        if read <= _LITTLE:
            self._patience = min(2 * self._patience or _GATHERING, _LONGEST)
            self._gathering = asyncio.get_running_loop().call_later(self._patience, self._gathered)
        elif read >= _MUCH:
            self._patience = 0.0

    def _gathered(self) -> None:
        self._gathering = None
        self._read_or_wait()

    def _end_after(self, count: int) -> None:
        self._left = count
        if not count:
            self._end()

    def _end(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._read_or_wait()
            os.close(self._fd)
            self._news.set()

    def _read_or_wait(self) -> None:
        wanted = not (self._full or self._gathering or self._ended.is_set())
        if wanted and not self._reading:
            asyncio.get_running_loop().add_reader(self._fd, self._read)
        elif self._reading and not wanted:
            asyncio.get_running_loop().remove_reader(self._fd)
        self._reading = wanted


def _available(fd: int) -> int:
    answer = fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0")
    count: int = struct.unpack("i", answer)[0]
    return count
