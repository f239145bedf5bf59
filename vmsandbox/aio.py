"""What asyncio itself does not offer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end, however often the caller is cancelled meanwhile; for giving back what was acquired.

    Raises:
        asyncio.CancelledError: the work is done, and the caller was cancelled meanwhile.
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
    result = task.result()
    if cancelled:
        raise asyncio.CancelledError
    return result


async def unless(work: Coroutine[Any, Any, T], failure: "asyncio.Future[BaseException]") -> T:
    """The result of `work`; when `failure` comes first, `work` is cancelled and the failure is raised."""
    task = asyncio.ensure_future(work)
    try:
        both: set[asyncio.Future[Any]] = {task, failure}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise failure.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def together(*works: Coroutine[Any, Any, Any]) -> None:
    """Run all at the same time; the first that fails cancels the others, and its error is raised by itself."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for work in works:
                tasks.create_task(work)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
