"""Waiting for what another process, thread or task brings about: it is looked at again and again, for a while.

What tells of itself (a process that ends, an event, a future) is awaited instead.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_POLL = 0.1
_POLL_IN_LOOP = 0.005


def eventually(look: Callable[[], T | None], timeout: float = 60) -> T:
    """The first true value that `look` gives within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        assert time.monotonic() < deadline, f"did not come to pass within {timeout:.0f} s"
        time.sleep(_POLL)
    return seen


async def until(look: Callable[[], T | None], timeout: float = 10) -> T:
    """Wait like `eventually` while the event loop runs on; `look` must not block it."""
    async with asyncio.timeout(timeout):
        while not (seen := look()):
            await asyncio.sleep(_POLL_IN_LOOP)
    return seen


async def until_blocking(look: Callable[[], T | None], timeout: float = 60) -> T:
    """Wait like `eventually`, in a thread, while the event loop runs on: it has connections to close."""
    return await asyncio.to_thread(eventually, look, timeout)


def hanging() -> tuple[asyncio.Event, Callable[..., Awaitable[None]]]:
    """A step that never ends, and the event that tells that it has begun."""
    reached = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    return reached, hang
