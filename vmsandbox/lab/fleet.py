"""Work on all hosts at once: a thread for each, and a failure of one host is that host's alone."""

import shlex
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib import resources
from typing import Generic, TypeVar

from vmsandbox.errors import Cancelled, FailedPrecondition, ResourceExhausted, VmsandboxError, explained
from vmsandbox.lab.host import Command, Connection, LabHost, Output, Reach, Stopping, Streams
from vmsandbox.lab.text import LastLine

T = TypeVar("T")

MOST_CAPTURED = 64 << 20
"""Bytes that a host may send where the answer is kept in memory."""

Dial = Callable[[LabHost, Reach], Connection]
Say = Callable[[str, str], None]
"""Called with a host's name and a line about what happens there; in any thread."""


@dataclass(frozen=True, slots=True)
class HostContext:
    """One host while work is done there. Used by one thread."""

    host: LabHost
    connection: Connection
    stopping: Stopping
    _say: Say

    def say(self, line: str) -> None:
        """Tell what is going on."""
        self._say(self.host.name, line)

    def run(self, command: Command, stdout: Output, stderr: Output) -> int:
        """Run a command; see Connection.run.

        Raises:
            Cancelled: somebody asked for an end before, or meanwhile.
        """
        if self.stopping.asked:
            raise Cancelled("stopped")
        status = self.connection.run(command, Streams(stdout, stderr), self.stopping)
        if self.stopping.asked:
            raise Cancelled("stopped")
        return status

    def output_of(self, command: Command, what: str) -> bytes:
        """The standard output of a command that has to succeed.

        Args:
            command: what to run.
            what: the failed step, for the error: "the checkout could not be unpacked".

        Raises:
            FailedPrecondition: it failed; the message has the last line that it said.
            ResourceExhausted: it said more than MOST_CAPTURED.
        """
        said, last = bytearray(), LastLine()

        def keep(piece: bytes) -> None:
            if len(said) + len(piece) > MOST_CAPTURED:
                raise ResourceExhausted(f"{what}: the answer is larger than {MOST_CAPTURED >> 20} MiB")
            said.extend(piece)

        status = self.run(command, keep, last.add)
        if status:
            raise FailedPrecondition(f"{what}: {last.text or f'`{shlex.join(command.argv)}` ended with {status}'}")
        return bytes(said)

    def program(self, name: str, *arguments: str, what: str) -> bytes:
        """The output of a program of `vmsandbox.lab.remote`. Raises as `output_of`."""
        source = resources.files("vmsandbox.lab.remote").joinpath(f"{name}.py").read_text()
        return self.output_of(Command((name, *arguments), program=source), what)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The outcome of the work on one host: a value, or an error."""

    host: LabHost
    seconds: float
    value: T | None = None
    error: VmsandboxError | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts' reach, and who is told of progress."""

    reach: Reach
    dial: Dial
    say: Say
    stopping: Stopping = field(default_factory=Stopping)

    def on(self, hosts: Sequence[LabHost], work: Callable[[HostContext], T]) -> tuple[Outcome[T], ...]:
        """Do the work on each host, all at once; return the outcomes in the order of the hosts."""
        futures: list[Future[Outcome[T]]] = [Future() for _ in hosts]
        for host, future in zip(hosts, futures, strict=True):
            run = lambda host=host, future=future: future.set_result(self._on_one(host, work))  # noqa: E731
            # Not of a pool: those are waited for when the process ends, and a host may not answer.
            threading.Thread(target=run, name=host.name, daemon=True).start()
        return tuple(future.result() for future in futures)

    def _on_one(self, host: LabHost, work: Callable[[HostContext], T]) -> Outcome[T]:
        begin = time.monotonic()
        try:
            connection = self.dial(host, self.reach)
            try:
                value = work(HostContext(host, connection, self.stopping, self.say))
            finally:
                connection.close()
        except Exception as error:  # of whatever kind: it is this host's, and the others go on
            return Outcome(host, time.monotonic() - begin, error=explained(error))
        return Outcome(host, time.monotonic() - begin, value)
