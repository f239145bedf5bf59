"""Directories in which something gets a new name, from whomever: inotify(7), one instance for the process.

The watches are bounded. Each is of a directory alone, and not of what is below it.
"""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vmsandbox.errors import ResourceExhausted
from vmsandbox.fs.foreign import ForeignPaths

MOST = 4096
"""Watches of this process; a kernel gives root 8192 at least."""

Renamed = Callable[[str], None]
"""Told the name that something in the directory has got; an empty one where the kernel has lost events."""

_IN_MOVED_TO, _IN_Q_OVERFLOW, _IN_IGNORED, _IN_ONLYDIR = 0x80, 0x4000, 0x8000, 0x01000000
_HEADER = struct.Struct("iIII")
_MOST_READ = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(eq=False, slots=True)
class Watch:
    """One directory for one who is told."""

    number: int
    """The kernel's, of a directory; other watches of it have the same."""
    renamed: Renamed


class Watcher:
    """Belongs to an event loop. The kernel's instance is there while something is watched."""

    def __init__(self) -> None:
        """Nothing is watched yet."""
        self._fd: int | None = None
        self._watches: set[Watch] = set()
        self._begun = 0

    async def watch(self, directory: Path, renamed: Renamed, paths: ForeignPaths) -> Watch:
        """Have `renamed` called in the event loop, until the watch is ended by its owner with `end`.

        Raises:
            ResourceExhausted: there are too many watches already.
            OSError: the kernel refuses, or there is no such directory.
            VmsandboxError: as `ForeignPaths.call`.
        """
        if len(self._watches) + self._begun >= MOST:
            raise ResourceExhausted(f"{MOST} directories of the host are watched already")
        fd = self._opened()
        self._begun += 1
        try:
            number = await paths.call(directory, partial(_add, fd, directory), late=partial(_remove, fd))
            watch = Watch(number, renamed)
            self._watches.add(watch)
        finally:
            self._begun -= 1
            self._close_where_unused()
        return watch

    def end(self, watch: Watch) -> None:
        """Tell no more. Can be repeated."""
        self._watches.discard(watch)
        if self._fd is not None and watch.number not in {each.number for each in self._watches}:
            _remove(self._fd, watch.number)
        self._close_where_unused()

    def _opened(self) -> int:
        if self._fd is None:
            self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "watching directories")
            asyncio.get_running_loop().add_reader(self._fd, self._read, self._fd)
        return self._fd

    def _close_where_unused(self) -> None:
        if self._fd is not None and not self._watches and not self._begun:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    def _read(self, fd: int) -> None:
        for number, mask, name in _events(os.read(fd, _MOST_READ)):
            lost = bool(mask & _IN_Q_OVERFLOW)
            for watch in tuple(self._watches):
                if lost or (watch.number == number and not mask & _IN_IGNORED):
                    watch.renamed("" if lost else name)


def _add(fd: int, directory: Path) -> int:
    number = _libc.inotify_add_watch(fd, os.fsencode(directory), _IN_MOVED_TO | _IN_ONLYDIR)
    return _checked(number, f"watching {directory}")


def _remove(fd: int, number: int) -> None:
    """Remove a watch. This fails if the directory is gone, and the watch with it."""
    _libc.inotify_rm_watch(fd, number)


def _events(data: bytes) -> Iterator[tuple[int, int, str]]:
    at = 0
    while at < len(data):
        number, mask, _, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size + length
        yield number, mask, os.fsdecode(data[at - length : at].rstrip(b"\0"))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
