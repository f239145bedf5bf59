"""Bytes on their way from a client to processes and ports, of which a bounded number waits.

Each pipe may hold the window of a stream, so that a client which knows windows is never held back here. What comes
beyond is bounded for all pipes of a connection together: a client that knows none can be held back only with all of its
streams at once, so one that is stuck should not do that before it has to.
"""

import asyncio

OWN = 64 * 1024
"""Bytes that may wait in each pipe: no less than `spdy.windows.INITIAL`."""
LIMIT = 1024 * 1024
"""Bytes that wait beyond their own in all pipes of a connection; what comes on top is taken in, but then nothing more
is read, not even the credits without which what waits may never be taken.
"""
PIECE = 64 * 1024
"""Bytes that are given at once."""


class Allowance:
    """What the pipes of one connection may hold together, beyond what each has of its own."""

    def __init__(self) -> None:
        """Begin with `LIMIT` bytes."""
        self._left = LIMIT
        self._returned = asyncio.Event()

    @property
    def left(self) -> int:
        """Bytes that may still wait; below 0 where more do than may."""
        return self._left

    @property
    def spent(self) -> bool:
        """Whether it is better to wait for `returned` now."""
        return self._left <= 0

    def take(self, count: int) -> None:
        """Bytes wait."""
        self._left -= count

    def give_back(self, count: int) -> None:
        """Bytes do not wait any more."""
        self._left += count
        self._returned.set()

    async def returned(self) -> None:
        """Return when it is not spent any more."""
        await self.exceeds(0)

    async def exceeds(self, count: int) -> None:
        """Return when more than `count` bytes are left."""
        while self._left <= count:
            self._returned.clear()
            await self._returned.wait()


class Pipe:
    """One task puts, another gets. Where a client cuts its bytes makes no difference, nor takes more memory."""

    def __init__(self, allowance: Allowance) -> None:
        """Begin empty and open."""
        self._allowance = allowance
        self._waiting = bytearray()
        self._given = 0
        self._charged = 0
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def size(self) -> int:
        """Bytes that wait, those included that were got and are not consumed."""
        return len(self._waiting) + self._given

    def put(self, data: bytes) -> None:
        """Add bytes."""
        self._waiting += data
        self._settle()
        self._changed.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._changed.set()

    async def get(self) -> bytes:
        """The next bytes, at most `PIECE`; none at the end. They count until they are `consumed`."""
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
        self._settle()

    def discard(self) -> int:
        """Throw away what waits, when nobody gets it any more; how many bytes that was."""
        count = self.size
        self._waiting.clear()
        self._given = 0
        self._settle()
        return count

    def _settle(self) -> None:
        """Have of the allowance what waits beyond the pipe's own."""
        before, self._charged = self._charged, max(0, self.size - OWN)
        if self._charged > before:
            self._allowance.take(self._charged - before)
        else:
            self._allowance.give_back(before - self._charged)
