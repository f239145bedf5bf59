"""Helpers for tasks that asyncio does not have."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from vmsandbox import log

_log = log.get(__name__)

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)


async def cancel(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks, and return when all have ended, whatever they raise.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile. The tasks were cancelled once more then, since some
            hurry, and have ended.
    """
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def background(work: Coroutine[Any, Any, T], name: str | None = None) -> AsyncIterator["asyncio.Task[T]"]:
    """Run `work` as a task while the context lasts, then `cancel` it; what it raises is only seen in the task."""
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        await cancel(task)


@contextlib.asynccontextmanager
async def attendant(work: Coroutine[Any, Any, T], name: str) -> AsyncIterator["asyncio.Task[T]"]:
    """Run work that nobody waits for, like `background`; an error that ends it is logged at once."""
    async with background(work, name) as task:
        task.add_done_callback(report)
        yield task


def report(task: "asyncio.Task[Any]") -> None:
    """Log the error that has ended a task, as a callback of one that nobody waits for (`add_done_callback`)."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s: ended by an error", task.get_name(), exc_info=error)


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end, however often the caller is cancelled meanwhile; for giving back what was acquired.

    Raises:
        asyncio.CancelledError: the work is done, and the caller was cancelled meanwhile. Where the work has failed, its
            error is the cause, and logged: code that handles errors must not take it for all there is, and go on.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
        except BaseException:  # noqa: S110 - raised below, from the task
            pass
    if cancelled and not task.cancelled():
        if (error := task.exception()) is not None:
            _log.warning("work that has to be finished has failed: %s", error)
        raise asyncio.CancelledError from error
    return task.result()


async def unless(work: Coroutine[Any, Any, T], failure: "asyncio.Future[E]") -> T:
    """The result of `work`; when `failure` comes first, `work` is cancelled and the failure is raised."""
    async with background(work) as task:
        both: set[asyncio.Future[Any]] = {task, failure}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise failure.result()


async def together(*works: Coroutine[Any, Any, T]) -> list[T]:
    """Run all at the same time; their results, in order. The first that fails cancels the others, and is raised."""
    # No TaskGroup: its errors come before a cancellation, and one that fails has its caller, in Python 3.11.2, count as
    # cancelled for ever, so that `asyncio.timeout` does not raise TimeoutError any more.
    tasks = [asyncio.create_task(work) for work in works]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()  # What has failed is raised, whichever it is.
        return [task.result() for task in tasks]
    finally:
        await cancel(*tasks)
