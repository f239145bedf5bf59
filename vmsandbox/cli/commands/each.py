"""One command on several names: it does all that it can, says what failed, and fails if anything did."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from vmsandbox.cli import execution, terminal
from vmsandbox.errors import NotFound, VmsandboxError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The results of those that succeeded, in the order of the names."""

    results: list[T]
    failed: bool

    def end(self) -> None:
        """End the process with a failure's status if anything failed."""
        if self.failed:
            raise SystemExit(execution.FAILED)


async def for_each(
    names: Iterable[str], act: Callable[[str], Awaitable[T]], *, ignore_missing: bool = False, at_once: bool = True
) -> Outcome[T]:
    """Act on all names; print each failure.

    Args:
        names: as they were written; one that is there twice counts once.
        act: raises the VmsandboxError that is reported.
        ignore_missing: take a name that nothing has for a success, without a result.
        at_once: at the same time; else one after the other.
    """
    different = dict.fromkeys(names)
    turns = asyncio.Semaphore(len(different) or 1 if at_once else 1)

    async def in_turn(name: str) -> T:
        async with turns:
            return await act(name)

    answers = await asyncio.gather(*map(in_turn, different), return_exceptions=True)
    results: list[T] = []
    failed = False
    for answer in answers:
        if not isinstance(answer, BaseException):
            results.append(answer)
        elif not isinstance(answer, VmsandboxError):
            raise answer
        elif not (ignore_missing and isinstance(answer, NotFound)):
            terminal.error(answer.report())
            failed = True
    return Outcome(results, failed)
