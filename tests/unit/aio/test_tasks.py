import asyncio
import contextlib

import pytest

from tests.support.cancelling import at_every_turn, ticks
from vmsandbox import aio

LONG = 1000


class Task:
    """A task that needs `steps` cancellations to end, and then ends with `error`, or by itself."""

    def __init__(self, steps: int = 1, error: BaseException | None = None) -> None:
        self.cancelled = 0
        self.ended = False
        self._steps = steps
        self._error = error
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self.cancelled < self._steps:
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                self.cancelled += 1
        await asyncio.sleep(0.01)
        self.ended = True
        if self._error is not None:
            raise self._error


async def begun(*tasks: Task) -> None:
    await asyncio.sleep(0)
    assert not any(task.task.done() for task in tasks)


@pytest.mark.parametrize("error", [None, ValueError("at its end"), asyncio.CancelledError()])
async def test_cancelling_tasks_waits_for_the_end_of_all_whatever_they_raise(error: BaseException | None) -> None:
    first, second = Task(error=error), Task()
    await begun(first, second)
    await aio.cancel(first.task, second.task)
    assert first.ended and second.ended


async def test_cancelling_what_has_ended_or_nothing_does_nothing() -> None:
    async def fails() -> None:
        raise ValueError("seen by nobody")

    failed = asyncio.create_task(fails())
    await asyncio.wait([failed])
    await aio.cancel(failed)
    await aio.cancel()


async def test_who_is_cancelled_while_it_waits_hurries_the_tasks_and_is_cancelled_when_they_have_ended() -> None:
    slow, quick = Task(steps=2), Task()
    await begun(slow, quick)
    waiting = asyncio.create_task(aio.cancel(slow.task, quick.task))
    await asyncio.sleep(0.05)
    assert (slow.cancelled, slow.ended, quick.ended, waiting.done()) == (1, False, True, False)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (slow.cancelled, slow.ended) == (2, True)


async def test_work_in_the_background_ends_with_its_context() -> None:
    begun, ended = asyncio.Event(), False

    async def work() -> None:
        nonlocal ended
        begun.set()
        try:
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(0.01)
            ended = True

    with pytest.raises(KeyError):
        async with aio.background(work(), name="a name") as task:
            await begun.wait()
            assert (task.get_name(), task.done()) == ("a name", False)
            raise KeyError
    assert ended and task.cancelled()


async def test_the_failure_of_work_in_the_background_is_its_task_s() -> None:
    async def fails() -> None:
        raise ValueError("told where somebody asks")

    async with aio.background(fails()) as task:
        await asyncio.wait([task])
    with pytest.raises(ValueError, match="where somebody asks"):
        task.result()


async def test_a_cancellation_is_not_lost_at_any_turn_of_work_with_a_background() -> None:
    async def work() -> None:
        async with aio.background(ticks(LONG)), aio.background(ticks(2)):
            await ticks(2)

    await at_every_turn(work)


async def test_a_cancellation_is_not_lost_at_any_turn_of_work_that_a_failure_may_end() -> None:
    async def work() -> None:
        await aio.unless(ticks(3), asyncio.get_running_loop().create_future())

    await at_every_turn(work)


async def fails_after(number: int) -> None:
    try:
        await ticks(number)
    finally:
        raise ValueError("it failed")


async def test_a_cancellation_is_not_lost_at_any_turn_of_work_that_goes_to_its_end_and_fails() -> None:
    async def work() -> None:
        with contextlib.suppress(ValueError):
            await aio.to_its_end(fails_after(3))

    await at_every_turn(work)


async def test_the_failure_of_work_that_a_cancelled_caller_has_finished_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caller = asyncio.create_task(aio.to_its_end(fails_after(3)))
    await ticks(2)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert "it failed" in caplog.text


async def test_a_cancellation_is_not_lost_at_any_turn_of_works_of_which_one_fails() -> None:
    async def work() -> None:
        with contextlib.suppress(ValueError):
            await aio.together(fails_after(3), ticks(5))

    await at_every_turn(work)


async def test_the_first_of_works_that_fails_ends_the_others_and_its_caller_may_go_on_with_a_timeout() -> None:
    ended: list[str] = []

    async def other() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.append("other")

    with pytest.raises(ValueError, match="it failed"):
        await aio.together(other(), fails_after(1))
    assert ended == ["other"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(LONG)
    await aio.together()
