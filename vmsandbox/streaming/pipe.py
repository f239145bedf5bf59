"""Bytes on their way from a client to a process or a port, of which a bounded number waits."""

import asyncio

LIMIT = 256 * 1024
"""Bytes that wait; what comes on top is taken in, but then the client is not read from any more."""
PIECE = 64 * 1024
"""Bytes that are given at once."""


class Pipe:
    """One task puts, another gets. Where a client cuts its bytes makes no difference, nor takes more memory."""

    def __init__(self) -> None:
        """Begin empty and open."""
        self._waiting = bytearray()
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether it is better to wait for `drained` now."""
        return self.size >= LIMIT

    def put(self, data: bytes) -> None:
        """Add bytes."""
        self._waiting += data
        self._changed.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._changed.set()

    async def get(self) -> bytes:
        """The next bytes, at most `PIECE`; none at the end."""
        while not self._waiting:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self._waiting[:PIECE])
        del self._waiting[:PIECE]
        self._changed.set()
        return data

    async def drained(self) -> None:
        """Return when it is not full any more."""
        while self.full:
            self._changed.clear()
            await self._changed.wait()
