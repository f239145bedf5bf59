"""Locks between processes: flock(2), which the kernel gives back when a process dies.

A lock is a file that is made where it is missing, mode 0600. The holder never removes the file: another process
may wait for it.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from vmsandbox import progress

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


@contextlib.contextmanager
def try_locked(path: Path) -> Iterator[bool]:
    """Hold the lock alone during the body if nobody holds it now; yields whether."""
    with _opened(path) as fd:
        yield try_flock(fd)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock alone, waiting in this thread: for sections of a few milliseconds, outside the event loop."""
    with _opened(path) as fd:
        wait_flock(fd)
        yield


@contextlib.asynccontextmanager
async def locked_async(path: Path, *, shared: bool = False) -> AsyncIterator[None]:
    """Hold the lock, alone or shared, however long it takes to get; waiting can be cancelled."""
    fd = os.open(path, _FLAGS, 0o600)
    if not try_flock(fd, shared=shared):
        with progress.waiting(f"Waiting for another process, which holds {path}"):
            await _acquire(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


def wait_flock(fd: int, *, shared: bool = False) -> None:
    """Lock an open file, alone or shared, until its descriptor is closed; wait in this thread, as in `locked`."""
    fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


def try_flock(fd: int, *, shared: bool = False) -> bool:
    """Lock an open file, alone or shared, until its descriptor is closed; False where another one has it."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, _FLAGS, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


async def _acquire(fd: int, operation: int) -> None:
    """Wait for flock in a thread of its own; once given up, the thread closes the descriptor when it gets it.

    A daemon thread, since those of asyncio's pool are waited for when the program ends.
    """
    import asyncio  # Here, since commands that list do without it, and it takes as long as all that they do.

    loop = asyncio.get_running_loop()
    held: asyncio.Future[None] = loop.create_future()

    def deliver() -> None:
        if held.cancelled():
            os.close(fd)
        else:
            held.set_result(None)

    def wait() -> None:
        fcntl.flock(fd, operation)
        try:
            loop.call_soon_threadsafe(deliver)
        except RuntimeError:  # the loop is closed: nobody waits any more
            os.close(fd)

    threading.Thread(target=wait, name="flock", daemon=True).start()
    try:
        await held
    except asyncio.CancelledError:
        if held.done() and not held.cancelled():  # got it, and was given up before it could be used
            os.close(fd)
        raise
