"""Ends a container that has no memory left, where the kernel does not.

Within a cgroup's limit the kernel kills nobody while it can reclaim anything. A container that has filled its limit
with what cannot be reclaimed (there is no swap) still has its program in the page cache: each part of it that is read
drives out the one that is needed next, each counts as reclaimed memory, and it gets nowhere (guest-image/README.md has
the figures). What is done to it here is what the kernel does when it at last finds nothing (memory.oom.group).
"""

import asyncio
import contextlib
import os
import select
import time

from vmsandbox_agent import console
from vmsandbox_agent.measures.cgroup import Cache, Cgroup

_STALLS = b"some 200000 2000000"
"""Pressure that makes it worth looking: for a tenth of two seconds somebody waits for memory (accounting/psi)."""
_QUIET = 5.0
"""Seconds without pressure that end what was seen before."""

_PATIENCE = 5.0
"""Seconds that it has to get out of it by itself."""
_TURNS = 100
"""How often it reads all that its cache holds, at least, and how many page faults wait for that."""
_LARGEST_PART, _SMALLEST, _LARGEST = 32, 1 << 20, 8 << 20
"""The cache of a container that has no memory left: at most this part of its limit, between these bounds (bytes)."""
_BLOCK = 128 << 10
"""Bytes that one page fault reads: a cache smaller than that is as good as one that holds it."""


class Thrashing:
    """Told while there is pressure how the cache of a cgroup stands, says when nothing but thrashing goes on in it."""

    def __init__(self) -> None:
        """Nothing has been seen."""
        self._first: tuple[float, Cache] | None = None
        self._seen = 0.0
        self._largest = 0

    def seen(self, now: float, cache: Cache) -> bool:
        """Whether it has lasted long enough, in a cgroup whose cache stands like this at `now` (seconds)."""
        if not cache.limit or cache.size > min(max(cache.limit // _LARGEST_PART, _SMALLEST), _LARGEST):
            self._first = None
        elif self._first is None or now - self._seen > _QUIET:
            self._first, self._largest = (now, cache), _BLOCK
        self._seen, self._largest = now, max(self._largest, cache.size)
        return self._first is not None and self._lasts(now, cache, *self._first)

    def _lasts(self, now: float, cache: Cache, begun: float, first: Cache) -> bool:
        return (
            now - begun >= _PATIENCE
            and cache.read_again - first.read_again >= _TURNS * self._largest
            and cache.major_faults - first.major_faults >= _TURNS
        )


class ThrashingWatch:
    """Watches a cgroup by the kernel's own notice of pressure: without it, this costs nothing."""

    def __init__(self, name: str, cgroup: Cgroup) -> None:
        """Nothing is watched before `limited`. `name` is the cgroup's, for messages."""
        self._name = name
        self._cgroup = cgroup
        self._thrashing = Thrashing()
        self._open = contextlib.ExitStack()
        self._notices: select.epoll | None = None

    def limited(self) -> None:
        """Watch it from now on if it has a limit; call it again when that may have changed."""
        cache = self._cgroup.cache()
        if self._notices is None and cache is not None and cache.limit:
            try:
                self._notices = self._watch()
            except OSError as error:  # A kernel without this; its own killer is still there.
                self.close()
                console.error(f"{self._name}: its memory's pressure cannot be watched: {error}")

    def close(self) -> None:
        """Watch it no more; can be repeated."""
        self._notices = None
        self._open.close()

    def _watch(self) -> select.epoll:
        """An epoll(7) of its own, since asyncio's does not wait for priority events."""
        pressure = os.open(self._cgroup.pressure, os.O_RDWR | os.O_CLOEXEC)
        self._open.callback(os.close, pressure)
        os.write(pressure, _STALLS)
        notices = self._open.enter_context(select.epoll())
        notices.register(pressure, select.EPOLLPRI)
        loop = asyncio.get_running_loop()
        loop.add_reader(notices, self._look)
        self._open.callback(loop.remove_reader, notices)
        return notices

    def _look(self) -> None:
        """There is pressure, or the cgroup is gone. Which notice it was, epoll has forgotten once asyncio has asked."""
        assert self._notices is not None
        gone = any(events & select.EPOLLERR for _, events in self._notices.poll(0))
        cache = None if gone else self._cgroup.cache()
        if cache is None:
            self.close()
        elif self._thrashing.seen(time.monotonic(), cache):
            self._end(cache)

    def _end(self, cache: Cache) -> None:
        if self._cgroup.kill_for_memory():
            console.error(f"{self._name} is killed: it has {cache.size} bytes left for its program")
            self.close()
