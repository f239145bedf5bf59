"""The output of processes, and forwarded ports: bytes out of the guest.

Positions are bytes since the start of a stream. The agent keeps what was not acknowledged, in a bounded buffer, and
then lets the process block; so whoever reads acknowledges what has been written to its destination.
"""

import asyncio
import contextlib
import struct
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from vmsandbox.errors import FailedPrecondition, InvalidArgument, Unavailable
from vmsandbox.guest.session import Session
from vmsandbox.guest.streams.opening import Reopening
from vmsandbox.guest.transport import GuestConnection
from vmsandbox.protocol.framing import STREAM_CHUNK, ProtocolError, pack

PIECE = 64 * 1024
"""Bytes of output that are given at once, where they have arrived: those who take them do so in fewer steps."""

_OFFSET = struct.Struct(">Q")
_FAREWELL = 5.0
"""Seconds that the agent has for taking in the last acknowledgement."""


class OutputStream:
    """The bytes of an output from a position on: a context, and an iterator of chunks that ends with the stream.

    It outlives connections: after a loss it opens the stream again at the last acknowledged position and skips
    what it has given already, so that nothing is lost and nothing comes twice. There must be one reader of an
    output at a time, since the agent gives it to the latest.
    """

    def __init__(
        self, name: str, session: Session, open_at: Callable[[int], Awaitable[GuestConnection]], offset: int
    ) -> None:
        """`GuestClient.output` calls this; `open_at` opens the stream at a position."""
        self.offset = offset
        """The position after the last chunk that was given."""
        self.acknowledged = offset
        self._open_at = open_at
        self._reopening = Reopening(name, session, self._open)
        self._connection: GuestConnection | None = None
        self._skip = 0
        self._ended = False
        self._waiting_since: float | None = None

    async def __aenter__(self) -> Self:
        """Opens nothing yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection; what was not acknowledged stays in the guest."""
        try:
            if self._connection is not None and self._ended and self.acknowledged == self.offset:
                self._send_acknowledgement()  # Again: it is the first after the end, which lets the agent finish.
                await _await_end(self._connection)
        finally:
            await self._close()

    def __aiter__(self) -> Self:
        """The stream itself."""
        return self

    async def __anext__(self) -> bytes:
        """The next bytes, less than `PIECE` and a chunk. Cancelling it loses none.

        Raises:
            Unavailable: the session is closed, or the stream cannot be opened any more.
            NotFound: the agent does not have the process.
        """
        while not self._ended:
            if self._connection is None:
                self._connection = await self._reopening.open()
            try:
                data = await self._receive(self._connection)
            except (OSError, ProtocolError) as error:
                await self._close()
                await self._reopening.lost(error)
                continue
            if data:
                self.offset += len(data)
                return data
        raise StopAsyncIteration

    def acknowledge(self, offset: int) -> None:
        """Let the agent forget what lies before `offset`, since it has reached its destination.

        Raises:
            InvalidArgument: `offset` lies beyond what was given.
        """
        if offset > self.offset:
            raise InvalidArgument(f"position {offset} was not reached, only {self.offset}")
        if offset > self.acknowledged:
            self.acknowledged = offset
            self._send_acknowledgement()

    def reopen_if_still(self, seconds: float) -> bool:
        """Have the stream opened again if its reader has waited for the guest that long; return whether it has."""
        since = self._waiting_since
        if self._connection is None or since is None or time.monotonic() - since < seconds:
            return False
        self._connection.abort(f"the guest has sent nothing for {seconds:g} s")
        return True

    def _send_acknowledgement(self) -> None:
        """Where it cannot be sent, the stream is opened again from the acknowledged position."""
        if self._connection is not None:
            with contextlib.suppress(ProtocolError):
                self._connection.send_soon(pack(_OFFSET.pack(self.acknowledged)))

    async def _open(self) -> GuestConnection:
        position = self.acknowledged
        connection = await self._open_at(position)
        self._skip = self.offset - position
        if self.acknowledged > position:
            connection.send_soon(pack(_OFFSET.pack(self.acknowledged)))
        return connection

    async def _receive(self, connection: GuestConnection) -> bytes:
        """New bytes, perhaps none. Raises ConnectionError at an end that is not the stream's."""
        self._waiting_since = time.monotonic()
        try:
            chunk = await connection.receive()
        finally:
            self._waiting_since = None
        if chunk is None:
            raise ConnectionResetError("the guest ended it")
        data = bytearray(self._new(chunk))
        while not self._ended and len(data) < PIECE and (more := connection.receive_more()) is not None:
            data += self._new(more)
        return bytes(data)

    def _new(self, chunk: bytes) -> bytes:
        """Return the part of a chunk that was not delivered before. An empty chunk is the end of the stream."""
        if not chunk:
            self._check_nothing_missing()
            self._ended = True
        self._reopening.progressed()
        skipped, self._skip = self._skip, max(0, self._skip - len(chunk))
        return chunk[skipped:]

    def _check_nothing_missing(self) -> None:
        if self._skip:
            raise ProtocolError(f"the stream ended {self._skip} bytes before a position that it has delivered")

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()


class PortStream:
    """Bytes to and from a port. It ends with its connection; TCP's peers deal with that themselves."""

    def __init__(self, name: str, connection: GuestConnection) -> None:
        """`GuestClient.port` calls this, and owns the connection."""
        self._name = name
        self._connection = connection
        self._ended = False
        self._write_closed = False

    async def read(self) -> bytes:
        """The next bytes, or none at the end of file. Raises Unavailable when the connection is reset."""
        if self._ended:
            return b""
        try:
            chunk = await self._connection.receive()
        except (OSError, ProtocolError) as error:
            raise Unavailable(f"{self._name}: the connection broke: {error}") from None
        if chunk is None:
            raise Unavailable(f"{self._name}: the connection was reset")
        self._ended = not chunk
        return chunk

    async def write(self, data: bytes) -> None:
        """Send bytes, waiting while the guest takes no more in.

        Raises:
            Unavailable: the connection is gone.
            FailedPrecondition: it was closed for writing.
        """
        if self._write_closed:
            raise FailedPrecondition(f"{self._name} was closed for writing")
        for start in range(0, len(data), STREAM_CHUNK):
            await self._send(data[start : start + STREAM_CHUNK])

    async def close_write(self) -> None:
        """Say that nothing more comes (TCP half close). Can be repeated. Raises Unavailable as `write`."""
        if not self._write_closed:
            self._write_closed = True
            await self._send(b"")

    async def _send(self, chunk: bytes) -> None:
        try:
            await self._connection.send(pack(chunk))
        except (OSError, ProtocolError) as error:
            raise Unavailable(f"{self._name}: the connection broke: {error}") from None


async def _await_end(connection: GuestConnection) -> None:
    """Wait until the agent ends a stream that it knows to be finished; closing first could cut off what it reads."""
    with contextlib.suppress(TimeoutError, OSError, ProtocolError):
        async with asyncio.timeout(_FAREWELL):
            while await connection.receive() is not None:
                pass
