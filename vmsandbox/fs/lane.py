"""One thread for the calls of many owners, one after the other; another takes its place when a call hangs.

Several threads would do no more, as Python runs one at a time, and compete with the event loop's. But a call on a disk
that hangs must not keep the calls of others: whoever waits for long has the thread replaced.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from vmsandbox.fs.foreign import MOST_OF_ALL

STUCK = 2.0
"""Seconds after which a call is taken to hang."""

T = TypeVar("T")


class Lane:
    """Calls in the order in which they are handed in. Its threads hold up no end of the process."""

    def __init__(self, name: str) -> None:
        """The first thread is started with the first call; `name` is its name."""
        self._name = name
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._busy_since: float | None = None
        self._left: set[threading.Thread] = set()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Hand a call in."""
        call: Future[T] = Future()
        self._calls.put((call, work))
        with self._lock:
            if self._thread is None:
                self._start()
        return call

    def relieve(self) -> None:
        """Have another thread go on where a call hangs; its own thread ends with it. For whoever has waited `STUCK`."""
        with self._lock:
            hangs = self._busy_since is not None and time.monotonic() - self._busy_since >= STUCK
            if self._thread is not None and hangs and len(self._left) < MOST_OF_ALL:
                self._left.add(self._thread)
                self._start()

    def _start(self) -> None:
        self._busy_since = None
        self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._is_left():
            call, work = self._calls.get()
            if call.set_running_or_notify_cancel():
                with self._lock:
                    self._busy_since = time.monotonic()
                _carry_out(call, work)

    def _is_left(self) -> bool:
        """Note that this thread is not busy. Return whether another has taken its place."""
        with self._lock:
            if (thread := threading.current_thread()) in self._left:
                self._left.remove(thread)
                return True
            self._busy_since = None
            return False


def _carry_out(call: "Future[T]", work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:
        call.set_exception(error)
    else:
        call.set_result(result)
