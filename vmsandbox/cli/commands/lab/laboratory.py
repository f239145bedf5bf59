"""How commands of `vmsandbox lab` run: work on hosts in a thread, Ctrl-C, and a line for each host at the end."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vmsandbox.cli import execution, terminal

if TYPE_CHECKING:
    from vmsandbox.lab import Fleet, HostContext, LabHost, Outcome

T = TypeVar("T")

_HURRIED = 3
"""How often somebody presses Ctrl-C who does not want to wait for the hosts."""


@dataclass(frozen=True, slots=True)
class Laboratory:
    """The options between `lab` and the command's name."""

    inventory: Path
    names: tuple[str, ...]

    def run(self, work: "Callable[[Fleet, Sequence[LabHost]], T]") -> T:
        """The result of work on the chosen hosts; ends the process where it fails.

        Ctrl-C asks the hosts to end what they do, and is waited for; the third one leaves them to find out.
        """
        return execution.run(self._run(work))

    async def _run(self, work: "Callable[[Fleet, Sequence[LabHost]], T]") -> T:
        from vmsandbox import lab

        inventory = lab.load(self.inventory)
        fleet = lab.Fleet(inventory.reach, lab.dial, say)
        hosts = inventory.chosen(self.names)
        future: Future[T] = Future()
        threading.Thread(target=_settle, args=(future, lambda: work(fleet, hosts)), daemon=True).start()
        waiting = asyncio.wrap_future(future)
        while True:
            try:
                done = await asyncio.shield(waiting)
            except asyncio.CancelledError:
                fleet.stopping.ask()
                if fleet.stopping.asked >= _HURRIED:
                    raise
                continue
            if fleet.stopping.asked:
                _tell(done if isinstance(done, tuple) else ())
                raise asyncio.CancelledError
            return done

    def on_each(self, work: "Callable[[HostContext], str]") -> None:
        """Do work on each host, and say what came of it, a line for each; exit status 1 where it failed anywhere."""
        conclude(self.run(lambda fleet, hosts: fleet.on(hosts, work)))


def _settle(future: "Future[T]", work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


def say(host: str, line: str) -> None:
    """Print a line about a host; whatever in it would steer the terminal is left out."""
    from vmsandbox import lab

    terminal.note(f"{host}: {lab.plain(line)}")


def conclude(outcomes: "Sequence[Outcome[Any]]") -> None:
    """Say what came of it on each host; end the process where it failed on one."""
    _tell(outcomes)
    if any(outcome.error for outcome in outcomes):
        raise SystemExit(execution.FAILED)


def _tell(outcomes: "Sequence[Outcome[Any]]") -> None:
    for outcome in outcomes:
        if outcome.error is None:
            told = outcome.value if isinstance(outcome.value, str) else "done"
            say(outcome.host.name, f"ok: {told} ({outcome.seconds:.0f} s)")
        else:
            hint = f"; try: {outcome.error.hint}" if outcome.error.hint else ""
            say(outcome.host.name, f"FAILED: {outcome.error}{hint}")
