"""Bytes of a client on their way to processes and ports that may be slow, counted for all of the client together."""

import asyncio

PIECE = 64 * 1024
"""Bytes that are given at once."""


class Backlog:
    """The bytes that wait in all queues of one client. While it is full, the client must not be read."""

    def __init__(self, limit: int) -> None:
        """Begin empty; it is full beyond `limit` bytes. What is read at once may come on top."""
        self._limit = limit
        self._size = 0
        self._fell = asyncio.Event()

    @property
    def full(self) -> bool:
        """True while more than the limit waits."""
        return self._size > self._limit

    def grow(self, count: int) -> None:
        """Count bytes that wait."""
        self._size += count

    def shrink(self, count: int) -> None:
        """Count bytes that do not wait any more."""
        self._size -= count
        self._fell.set()

    async def fits(self) -> None:
        """Return when it is not full."""
        while self.full:
            self._fell.clear()
            await self._fell.wait()


class ByteQueue:
    """One task puts, another gets. Where a client cuts its bytes makes no difference, nor takes more memory."""

    def __init__(self, backlog: Backlog) -> None:
        """Begin empty and open; what waits counts in `backlog`, too."""
        self._backlog = backlog
        self._waiting = bytearray()
        self._given = 0
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def size(self) -> int:
        """Bytes that wait, those included that were got and are not consumed."""
        return len(self._waiting) + self._given

    def put(self, data: bytes) -> None:
        """Add bytes."""
        self._waiting += data
        self._backlog.grow(len(data))
        self._changed.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._changed.set()

    async def get(self) -> bytes:
        """Return the next bytes, at most `PIECE`; none at the end. They count until they are `consumed`."""
        while not self._waiting and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self._waiting[:PIECE])
        del self._waiting[:PIECE]
        self._given += len(data)
        return data

    def consumed(self, count: int) -> None:
        """Bytes that were got have been dealt with."""
        self._given -= count
        self._backlog.shrink(count)

    def discard(self) -> int:
        """Throw away what waits, when nobody gets it any more; return how many bytes that was."""
        count = self.size
        self._waiting.clear()
        self._given = 0
        self._backlog.shrink(count)
        return count
