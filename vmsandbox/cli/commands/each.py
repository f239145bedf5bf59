"""One command on several names: it does all that it can, says what failed, and fails if anything did."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vmsandbox.cli import execution, terminal
from vmsandbox.errors import NotFound, VmsandboxError

T = TypeVar("T")


@dataclass(slots=True)
class Outcome(Generic[T]):
    """The results of those that succeeded, in the order of the names."""

    results: list[T] = field(default_factory=list)
    failed: bool = False

    def end(self) -> None:
        """End the process with a failure's status if anything failed."""
        if self.failed:
            raise SystemExit(execution.FAILED)


async def for_each(
    names: Iterable[str], act: Callable[[str], Awaitable[T]], *, ignore_missing: bool = False
) -> Outcome[T]:
    """Act on each name in turn; print each failure.

    Args:
        names: as they were written; one that is there twice counts once.
        act: raises the VmsandboxError that is reported.
        ignore_missing: take a name that nothing has for a success, without a result.
    """
    outcome: Outcome[T] = Outcome()
    for name in dict.fromkeys(names):
        try:
            outcome.results.append(await act(name))
        except VmsandboxError as error:
            if ignore_missing and isinstance(error, NotFound):
                continue
            terminal.error(error.report())
            outcome.failed = True
    return outcome
