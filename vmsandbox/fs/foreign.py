"""Calls on paths that are not ours: volumes, log directories, profiles. Their file system may hang (a dead NFS server).

A thread that waits for such a file system cannot be ended: it waits until the server is back, or the mount is aborted.
So each call has a daemon thread of its own and a deadline. When the deadline passes the caller goes on, and the thread
is left. The threads of asyncio's executor are not used: a few stuck ones would hold up all that it does, and the end of
the process.

The threads are bounded: one owner has `MOST_OF_ONE` calls at once, and further ones wait for their turn. Once
`MOST_OF_ONE` of an owner, or `MOST_OF_ALL` of the process, are left, a call fails at once, without a thread, until one
of them has come back.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from vmsandbox.errors import DeadlineExceeded, Unavailable

DEADLINE = 10.0
"""Seconds in which a call has to come back; a network's file system that is only slow takes less."""
MOST_OF_ONE = 4
"""Calls of one owner that may hang."""
MOST_OF_ALL = 256
"""Calls of the process that may hang: owners come and go while their threads stay."""

T = TypeVar("T")


class ForeignPaths:
    """The calls of one owner, e.g. one sandbox, on paths that are not ours."""

    _left_by_all: ClassVar[list[threading.Thread]] = []

    def __init__(self) -> None:
        """No call hangs yet."""
        self._left: list[threading.Thread] = []
        self._turns = asyncio.Semaphore(MOST_OF_ONE)
        self._running = 0

    async def call(self, path: Path, work: Callable[[], T], late: Callable[[T], object] = lambda result: None) -> T:
        """Do `work`, which may hang for ever, in a thread; return its result or raise its exception.

        Args:
            path: for messages, and for the name of the thread.
            work: the calls on the path.
            late: gives the result back where the caller has gone on without it; runs in a thread.

        Raises:
            DeadlineExceeded: the file system of `path` does not answer.
            Unavailable: too many earlier calls hang.
        """
        async with self._turns:
            self._check(path)
            self._running += 1
            try:
                return await self._call(path, work, late)
            finally:
                self._running -= 1

    async def _call(self, path: Path, work: Callable[[], T], late: Callable[[T], object]) -> T:
        call = _Call(path, work, late)
        call.start()
        taken = False
        try:
            await asyncio.wait([call.ended], timeout=DEADLINE)
            taken = call.ended.done()
        finally:
            if not taken and call.leave():
                self._left.append(call)
                self._left_by_all.append(call)
        if not taken:
            raise DeadlineExceeded(
                f"{path} did not answer within {DEADLINE:g} s",
                hint="check that its file system, or its server, answers",
            )
        return call.result()

    def _check(self, path: Path) -> None:
        """Refuse a call if too many hang. For an owner with a call that hangs, unfinished calls count as well."""
        for left, most in ((self._left, MOST_OF_ONE - self._running), (self._left_by_all, MOST_OF_ALL)):
            left[:] = [thread for thread in left if thread.is_alive()]
            if left and len(left) >= most:
                raise Unavailable(
                    f"{path} is not opened, because {len(left)} earlier calls hang, the first on {left[0].name}",
                    hint="repair that file system, or abort its mount (umount -f)",
                )


class _Call(threading.Thread, Generic[T]):
    """One call. Its end is told to the loop; where nobody waits any more, its result is given back."""

    def __init__(self, path: Path, work: Callable[[], T], late: Callable[[T], object]) -> None:
        super().__init__(name=str(path), daemon=True)
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._work = work
        self._late = late
        self._outcome: Callable[[], T] | None = None
        self._is_left = False
        self._lock = threading.Lock()

    def run(self) -> None:
        outcome = _outcome(self._work)
        with self._lock:
            self._outcome = outcome
            is_left = self._is_left
        if is_left or not self._tell():
            self._give_back()

    def result(self) -> T:
        """Return the result of the work, or raise its error."""
        assert self._outcome is not None
        return self._outcome()

    def leave(self) -> bool:
        """Go on without the result. Return whether the work still hangs."""
        with self._lock:
            self._is_left = True
            hangs = self._outcome is None
        if not hangs:
            threading.Thread(target=self._give_back, name=self.name, daemon=True).start()
        return hangs

    def _tell(self) -> bool:
        """Wake the caller up. Return whether there is still a loop in which it could be."""
        try:
            self._loop.call_soon_threadsafe(self._end)
        except RuntimeError:
            return False
        return True

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _give_back(self) -> None:
        assert self._outcome is not None
        try:
            result = self._outcome()
        except BaseException:
            return
        self._late(result)


def _outcome(work: Callable[[], T]) -> Callable[[], T]:
    """Do the work; the outcome, when called, returns or raises what the work did."""
    try:
        result = work()
    except BaseException as raised:
        error = raised

        def fail() -> T:
            raise error

        return fail
    return lambda: result
