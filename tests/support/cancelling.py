"""Cancelling work at every turn that the event loop takes for it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


async def ticks(number: int) -> None:
    """Let the loop take so many turns."""
    for _ in range(number):
        await asyncio.sleep(0)


async def _cancelled_after(number: int, work: Coroutine[Any, Any, None]) -> bool:
    """Whether `work` is cancelled, when it is asked to be after so many turns of the loop; False: it was quicker."""
    task = asyncio.create_task(work)
    await ticks(number)
    asked = task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() is asked, f"the cancellation after {number} turns was lost"
    return asked


async def at_every_turn(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Cancel `make()` at every turn of its life: it is never lost."""
    number = 0
    while await _cancelled_after(number, make()):
        number += 1
    assert number > 2
