"""How much the writable layers hold.

There is no quota to ask, so that files are counted: by a process of its own and of the lowest priority (the agent stays
responsive, and needs no memory for it), for one layer at a time, and for each at most once a minute.
"""

import asyncio
import contextlib
import os
import time
from pathlib import Path

from vmsandbox.protocol.messages import FileSystem, LayerMeasures
from vmsandbox_agent.measures.measuring import device_name
from vmsandbox_agent.reaper import Reaper, end_of

_INTERVAL = 60.0
"""Seconds between two counts of a layer, at least."""
_LIMIT = 30.0
"""Seconds that a count may take; beyond it the layer stays unknown."""
_PATIENCE = 1.0
"""Seconds to wait for the first count: a new layer is small."""

_LOWEST = 19
"""Priority (setpriority(2))."""

_COUNT = r"""
{ busybox du -ak "$0"; echo "$?"; } |
busybox awk '/^[0-9]+\t/ { files++; size = $1 } { last = $0 } END { if (last ~ /^[01]$/) print files, size }'
"""
"""Prints inodes and KiB: du names every inode once, whatever its links, and the directory itself at last.

Its status is 1 where something vanished before its eyes. With another it has not come to the end: nothing is printed.
"""


def file_system(directory: Path) -> FileSystem:
    """The one that `directory` is on."""
    told = os.statvfs(directory)
    number = directory.stat().st_dev
    return FileSystem(
        size=told.f_blocks * told.f_frsize,
        free=told.f_bavail * told.f_frsize,
        inodes=told.f_files,
        inodes_free=told.f_favail,
        device=device_name(f"{os.major(number)}:{os.minor(number)}"),
    )


class Counter:
    """Counts what is in directories, one at a time."""

    def __init__(self, reaper: Reaper) -> None:
        """Start processes by `reaper`."""
        self._reaper = reaper
        self._turn = asyncio.Lock()

    async def count(self, directory: Path) -> LayerMeasures | None:
        """Count one; None where that takes too long (OSError), or the directory is gone."""
        async with self._turn:
            with contextlib.suppress(OSError, ValueError):
                async with asyncio.timeout(_LIMIT):
                    inodes, size = map(int, (await self._output(directory)).split())
                return LayerMeasures(time.time_ns(), size * 1024, inodes)
        return None

    async def _output(self, directory: Path) -> bytes:
        null = os.open(os.devnull, os.O_RDWR)
        reading, writing = os.pipe()
        try:
            command = ["busybox", "sh", "-c", _COUNT, str(directory)]
            pid, ended = self._reaper.spawn(command, null, writing, null)
            os.setpriority(os.PRIO_PGRP, pid, _LOWEST)
            await end_of(pid, ended)
            os.set_blocking(reading, False)
            return os.read(reading, 100)
        finally:
            for fd in (null, reading, writing):
                os.close(fd)


class WritableLayer:
    """The size of one writable layer."""

    def __init__(self, counter: Counter, directory: Path) -> None:
        """Nothing yet."""
        self._counter = counter
        self._directory = directory
        self._counting: asyncio.Task[None] | None = None
        self._begun = -_INTERVAL
        self._known: LayerMeasures | None = None

    async def latest(self) -> LayerMeasures | None:
        """The latest count, and have it counted anew where that is due; None until it is first known."""
        if self._counting is None and time.monotonic() - self._begun >= _INTERVAL:
            self._begun = time.monotonic()
            self._counting = asyncio.create_task(self._count())
        if self._counting is not None and self._known is None:
            await asyncio.wait([self._counting], timeout=_PATIENCE)
        return self._known

    async def close(self) -> None:
        """Count no more; can be repeated."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait([self._counting])

    async def _count(self) -> None:
        try:
            self._known = await self._counter.count(self._directory) or self._known
        finally:
            self._counting = None
