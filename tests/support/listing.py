"""Asking a daemon for its pods, again and again, while it does something else."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.conformance_client import Cri

_PAUSE = 0.1


@contextmanager
def listing(cri: Cri) -> Iterator[list[float]]:
    """List pods all the while; how long each answer took, in seconds, as it comes in."""
    took: list[float] = []
    done = threading.Event()

    def go_on() -> None:
        while not done.wait(_PAUSE):
            asked = time.monotonic()
            cri.list_pods()
            took.append(time.monotonic() - asked)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield took
    finally:
        done.set()
        thread.join()
