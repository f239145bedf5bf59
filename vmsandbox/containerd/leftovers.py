"""Tasks and sandboxes that nobody may want any more: each is ended, and tried again where that fails."""

import asyncio
from collections.abc import Awaitable, Callable

from vmsandbox import log
from vmsandbox.errors import VmsandboxError

_log = log.get(__name__)

_PAUSE = 5.0
"""Seconds between two attempts."""


class Leftovers:
    """Objects of one kind, by their namespace of containerd and their names."""

    def __init__(self, kind: str, end: Callable[[str, str], Awaitable[None]]) -> None:
        """Know none yet.

        Args:
            kind: what they are, for the log.
            end: ends one, unless it is wanted; it succeeds where that was done before.
        """
        self._kind = kind
        self._end = end
        self._left: set[tuple[str, str]] = set()
        self._waits = asyncio.Event()

    def add(self, namespace: str, name: str) -> None:
        """Have `attend` look after one."""
        self._left.add((namespace, name))
        self._waits.set()

    async def attend(self) -> None:
        """End what is added, for ever."""
        while True:
            await self._waits.wait()
            self._waits.clear()
            for namespace, name in list(self._left):
                await self.attempt(namespace, name)
            if self._left:
                await asyncio.sleep(_PAUSE)

    async def attempt(self, namespace: str, name: str) -> None:
        """End one now; where that fails, it is left to `attend`."""
        try:
            await self._end(namespace, name)
        except (VmsandboxError, OSError) as error:
            _log.warning("%s %s cannot be ended, which is tried again: %s", self._kind, name, error)
            self.add(namespace, name)
        else:
            self._left.discard((namespace, name))
