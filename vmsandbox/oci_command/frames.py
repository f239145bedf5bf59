"""One connection at the daemon's socket for an event loop: frames in, frames out (`wire`). Both of its ends use it."""

import asyncio
import contextlib
import socket
import struct
from typing import Any

from vmsandbox.oci_command import wire

_CREDENTIALS = struct.Struct("3i")
"""A process, a user, a group (unix(7), SO_PEERCRED)."""


class Disconnected(Exception):
    """The other end has closed the connection."""


class Connection:
    """The two ends of a stream, which the caller owns."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Nothing is read yet."""
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()

    @property
    def peer(self) -> int:
        """The process at the other end, by its id in this process's PID namespace."""
        credentials = self._writer.get_extra_info("socket").getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        pid: int = _CREDENTIALS.unpack(credentials)[0]
        return pid

    async def receive(self) -> tuple[bytes, bytes]:
        """Return the next frame: its kind, and its payload. Raises Disconnected, WireError."""
        try:
            kind, length = wire.header(await self._reader.readexactly(wire.HEADER.size))
            return kind, await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            raise Disconnected from None

    async def send(self, frame: bytes) -> None:
        """Send a frame, and wait while the other end is behind. Raises Disconnected."""
        try:
            async with self._sending:
                self._writer.write(frame)
                await self._writer.drain()
        except OSError:
            raise Disconnected from None

    async def answer(self, **values: Any) -> None:
        """Answer the request. Raises Disconnected."""
        await self.send(wire.pack_message(values))

    def close(self) -> None:
        """End it."""
        self._writer.close()

    async def gone(self) -> None:
        """Return when the other end has closed the connection, or sends what nobody has asked for."""
        await self._reader.read(1)

    async def closed(self) -> None:
        """Return when the other end has closed the connection; what it still sends is dropped."""
        with contextlib.suppress(OSError):
            while await self._reader.read(wire.PIECE):
                pass
