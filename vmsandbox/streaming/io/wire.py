"""The connection of one client after its upgrade: a socket on one side, a protocol on the other.

One task reads (`events`), any may send. Sending waits while the client does not take what is sent, so that a process
is held back by the client it writes to. A client that hangs up is noticed also while it is not read from.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from vmsandbox import aio
from vmsandbox.streaming.io.sockets import hangup_of, untaken

IDLE_TIMEOUT = 4 * 3600.0
"""Seconds without a byte in either direction after which a connection is ended, as in the kubelet."""
HEARTBEAT = 5.0
"""Seconds between heartbeats to a client that is not read from."""
LINGER = 5.0
"""Seconds that a client has for hanging up, when it has taken in the end, before the connection is closed on it."""

_READ = 64 * 1024
_UNSENT_LIMIT = 1024 * 1024
"""Bytes of answers (to pings, to streams that are refused) that may wait for a client which does not read."""

E = TypeVar("E")
P = TypeVar("P", bound="WireProtocol[Any]")


class ClientGone(Exception):
    """The client has hung up, broke the protocol, or was idle for too long."""


class WireProtocol(Protocol[E]):
    """A protocol without I/O."""

    over: bool

    def receive(self, data: bytes) -> list[E]:
        """Take bytes in."""
        ...

    def take_output(self) -> bytes:
        """Take the bytes that are to be sent."""
        ...

    def heartbeat(self) -> None:
        """Send a message that has no effect and gets no answer."""
        ...


class Wire(Generic[P]):
    """A connection; it owns the stream pair, and `protocol` is its user's."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        protocol: P,
        *,
        early: bytes = b"",
        idle_timeout: float = IDLE_TIMEOUT,
    ) -> None:
        """Go on with a connection on which `early` was read already."""
        self.protocol = protocol
        self._reader = reader
        self._writer = writer
        self._early = early
        self._idle_timeout = idle_timeout
        self._received = asyncio.Event()
        self._ended = False
        self._active = asyncio.get_running_loop().time()

    async def events(self) -> AsyncIterator[Any]:
        """Yield what the client does, to its end. Slow iteration holds the client back; see `hold`.

        Raises:
            ClientGone: the client was idle for too long, or leaves our answers unread.
        """
        data = self._early
        try:
            while not self.protocol.over:
                happened = self.protocol.receive(data)
                self._wake()
                await self.flush_answers()
                for event in happened:
                    yield event
                if self.protocol.over or not (data := await self._read()):
                    return
        finally:
            self._ended = True
            self._wake()

    async def deliver(self, data: bytes, room: Callable[[], int], send: Callable[[bytes], None]) -> None:
        """Send data on a stream of the protocol, as it has room and as the client takes it. Raises ClientGone."""
        rest = memoryview(data)  # It may be large, and the room for it small.
        while rest:
            while not (size := room()):
                if self._ended:
                    raise ClientGone("it hung up")
                await self._received.wait()
            send(bytes(rest[:size]))
            rest = rest[size:]
            await self.flush()

    async def flush(self) -> None:
        """Send what the protocol has to send; waits while the client does not take it in. Raises ClientGone."""
        self.flush_soon()
        try:
            await self._writer.drain()
        except OSError as error:
            raise ClientGone(f"it hung up: {error}") from None

    def flush_soon(self) -> None:
        """Send what the protocol has to send, without waiting; for what is little."""
        if self._write():
            self._active = asyncio.get_running_loop().time()

    async def flush_answers(self) -> None:
        """Flush soon, but wait if a client leaves many answers unread. Raises ClientGone."""
        self.flush_soon()
        if self._writer.transport.get_write_buffer_size() > _UNSENT_LIMIT:
            await self.hold(self.flush())

    async def hold(self, ready: Coroutine[Any, Any, None]) -> None:
        """Wait for `ready` while the client is not read from.

        Raises:
            ClientGone: the client hung up meanwhile, or was idle for too long.
        """
        peer: socket.socket = self._writer.get_extra_info("socket")
        async with aio.background(ready) as waiting, aio.background(self._beat()):
            with hangup_of(peer) as gone:
                while (left := self._left_of_idleness) > 0 and not (waiting.done() or gone.done()):
                    await asyncio.wait({waiting, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise ClientGone("it hung up" if gone.done() else "it was idle for too long")
            waiting.result()

    async def end(self) -> None:
        """Send the rest and close, giving the client the time to take it in (RFC 9112, 9.6), however slow it is."""
        with contextlib.suppress(TimeoutError, OSError, ClientGone):
            async with asyncio.timeout(self._idle_timeout):
                self._writer.transport.set_write_buffer_limits(0)
                await self.flush()
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                while not await self._hung_up(LINGER) and untaken(self._writer.get_extra_info("socket")):
                    pass

    async def _hung_up(self, patience: float) -> bool:
        """Wait up to `patience` seconds; return whether the client hung up. Its last bytes are ignored."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while data := await self._reader.read(_READ):
                    self.protocol.receive(data)
                    self.flush_soon()
                return True
        return False

    async def _beat(self) -> None:
        """Send heartbeats, which the kernel of a client that was killed answers with RST.

        Its FIN waits behind the bytes that are not read."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            if not self._writer.transport.get_write_buffer_size():
                self.protocol.heartbeat()
                self._write()

    @property
    def _left_of_idleness(self) -> float:
        """Seconds until nothing has come or gone for too long."""
        return self._active + self._idle_timeout - asyncio.get_running_loop().time()

    async def _read(self) -> bytes:
        """Return bytes of the client; none when it hung up. Raises ClientGone when it was idle for too long."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(self._active + self._idle_timeout):
                    data = await self._reader.read(_READ)
            except TimeoutError:
                if self._left_of_idleness <= 0:
                    raise ClientGone("it was idle for too long") from None
            except OSError:
                return b""
            else:
                self._active = loop.time()
                return data

    def _write(self) -> bool:
        data = self.protocol.take_output()
        if data and not self._writer.is_closing():
            self._writer.write(data)
        return bool(data)

    def _wake(self) -> None:
        self._received.set()
        self._received = asyncio.Event()
