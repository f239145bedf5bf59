"""How the host reaches ports of one guest: the interface, and frames on the connections it gives.

Implementations: `vsock.KernelVsock` (AF_VSOCK) and `vhost_device.VhostDevice` (vhost-device-vsock).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from vmsandbox.errors import Unavailable
from vmsandbox.fairness import TimeShare
from vmsandbox.model import Vsock
from vmsandbox.protocol.framing import MAX_FRAME, FrameReader, ProtocolError

_RECEIVE = 64 * 1024
_SECONDS_PER_FRAME, _SECONDS_PER_BYTE = 20e-6, 2.5e-9
"""The assumed cost of any frame from the guest. Code that knows a higher cost charges the rest."""
_FAREWELL = 1.0
"""Seconds in which the guest has to take in what was sent last."""

UNSENT_LIMIT = 16 * 1024 * 1024
"""Bytes that may wait for a guest that does not read; beyond them its connection is given up."""


class TransportBroken(Unavailable):
    """The way to the guest is gone for good (its vsock daemon died); dialling again is useless."""


class Transport(Protocol):
    """The way to one guest. Its owner makes and ends it; sessions and streams only dial."""

    device: Vsock
    """The device of the domain that this transport needs."""

    async def ready(self) -> None:
        """Return when a guest that boots may be dialled: when it listens, where the transport knows.

        Raises:
            TransportBroken: it never will.
        """
        ...

    async def dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port on which the guest listens. The caller closes the writer.

        Raises:
            Unavailable: nobody answers (yet); trying again may help.
            TransportBroken: nobody ever will.
        """
        ...

    async def diagnose(self) -> TransportBroken | None:
        """Why the transport itself is broken, for code that has just lost a connection; None while it is whole."""
        ...


class GuestConnection:
    """Frames on a dialled connection, which it owns. One task may receive, any may send."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limit: int = MAX_FRAME,
        share: TimeShare | None = None,
    ) -> None:
        """Receive payloads of at most `limit` bytes, as far as the guest's `share` allows it; without, as they come."""
        self._reader = reader
        self._writer = writer
        self._limit = limit
        self._share = share
        self._frames = FrameReader(limit)
        self._closing: asyncio.Future[None] | None = None

    async def send(self, frame: bytes) -> None:
        """Send a packed frame; a cancelled sender leaves it whole.

        Raises:
            OSError: the peer is gone.
            ProtocolError: the peer has not read `UNSENT_LIMIT` bytes.
        """
        self.send_soon(frame)
        await self._writer.drain()

    def send_soon(self, frame: bytes) -> None:
        """Send a small packed frame without waiting for the peer to take it. Raises ProtocolError as `send`."""
        if self._writer.transport.get_write_buffer_size() > UNSENT_LIMIT:
            raise ProtocolError(f"the guest leaves more than {UNSENT_LIMIT} bytes unread")
        if not self._writer.is_closing():
            self._writer.write(frame)

    async def receive(self, limit: Callable[[], int] | None = None) -> bytes | None:
        """The next payload, or None where the peer ended the connection. Cancelling it loses nothing.

        Args:
            limit: gives the bytes that a payload may have at this moment; None: always those of the connection.

        Raises:
            OSError: the connection was reset.
            ProtocolError: a frame is too large or was cut.
        """
        if self._share is not None:
            await self._share.turn()
        while (payload := self._frames.next_frame(self._limit if limit is None else limit())) is None:
            data = await self._reader.read(_RECEIVE)
            if not data:
                self._check_whole()
                return None
            self._frames.append(data)
        self._charge(payload)
        return payload

    def receive_more(self) -> bytes | None:
        """The next payload where it is here already, and may be taken in the same turn. Raises as `receive`."""
        if self._share is not None and not self._share.may_go_on:
            return None
        if (payload := self._frames.next_frame(self._limit)) is not None:
            self._charge(payload)
        return payload

    def _charge(self, payload: bytes) -> None:
        if self._share is not None:
            self._share.charge(_SECONDS_PER_FRAME + len(payload) * _SECONDS_PER_BYTE)

    def abort(self, reason: str = "the machine is gone") -> None:
        """Break it off: whoever receives or sends is told that it was reset, and why."""
        self._reader.set_exception(ConnectionResetError(reason))
        self._writer.transport.abort()

    def _check_whole(self) -> None:
        if pending := self._frames.pending():
            raise ProtocolError(f"the connection ended within a frame, after {pending} bytes")

    async def aclose(self) -> None:
        """End the connection; what was sent is still delivered, unless the guest does not take it in."""
        self._writer.close()
        # One task waits for it: a waiter that is cancelled would leave its cancellation to all later ones.
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._wait_closed())
        await asyncio.shield(self._closing)

    async def _wait_closed(self) -> None:
        late = asyncio.get_running_loop().call_later(_FAREWELL, self._writer.transport.abort)
        try:
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        finally:
            late.cancel()


@contextlib.asynccontextmanager
async def dialled(transport: Transport, port: int, limit: int = MAX_FRAME) -> AsyncIterator[GuestConnection]:
    """A `GuestConnection` to a port of the guest, closed when the context is left. Raises as `Transport.dial`."""
    connection = GuestConnection(*await transport.dial(port), limit)
    try:
        yield connection
    finally:
        await connection.aclose()
