"""Bytes on their way from a client to a process or a port, of which a bounded number waits."""

import asyncio
from collections import deque

LIMIT = 256 * 1024
"""Bytes that wait; what comes on top is taken in, but then the client is not read from any more."""


class Pipe:
    """One task puts, another gets."""

    def __init__(self) -> None:
        """Begin empty and open."""
        self.size = 0
        """Bytes that wait."""
        self._pieces: deque[bytes] = deque()
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether it is better to wait for `drained` now."""
        return self.size >= LIMIT

    def put(self, data: bytes) -> None:
        """Add bytes."""
        self._pieces.append(data)
        self.size += len(data)
        self._changed.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._changed.set()

    async def get(self) -> bytes:
        """The next bytes; none at the end."""
        while not self._pieces:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._pieces.popleft()
        self.size -= len(data)
        self._changed.set()
        return data

    async def drained(self) -> None:
        """Return when it is not full any more."""
        while self.full:
            self._changed.clear()
            await self._changed.wait()
