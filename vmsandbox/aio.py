"""What asyncio itself does not offer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


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
    async with background(work) as task:
        both: set[asyncio.Future[Any]] = {task, failure}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise failure.result()


async def together(*works: Coroutine[Any, Any, Any]) -> None:
    """Run all at the same time; the first that fails cancels the others, and its error is raised by itself."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for work in works:
                tasks.create_task(work)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
