"""Starting and reaping of processes, for PID 1: every child's end is collected in one place."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores and that its children must not inherit as ignored."""


class Reaper:
    """Waits for all children of this process, its own and those it inherits as a subreaper."""

    def __init__(self) -> None:
        """Nothing is reaped before `attach`."""
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._strangers: dict[int, int] = {}
        self._adoptions = 0

    def attach(self) -> None:
        """Reap from now on; call it in the running loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)

    def spawn(
        self, argv: Sequence[str], stdin: int, stdout: int, stderr: int, environment: Mapping[str, str] | None = None
    ) -> tuple[int, asyncio.Future[int]]:
        """Start a program in a session of its own; returns its pid and what becomes its exit code.

        Raises:
            OSError: the program cannot be started.
        """
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate((stdin, stdout, stderr))]
        return self._spawn(argv, actions, environment)

    def spawn_in_terminal(
        self, argv: Sequence[str], terminal: str, environment: Mapping[str, str]
    ) -> tuple[int, asyncio.Future[int]]:
        """Start a program, like `spawn`, on a terminal: it is the session's, since its leader opens it (tty(4)).

        Raises:
            OSError: the program cannot be started.
        """
        opening = (os.POSIX_SPAWN_OPEN, 0, terminal, os.O_RDWR, 0)
        return self._spawn(argv, [opening, (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)], environment)

    @contextlib.contextmanager
    def adopting(self) -> Iterator[None]:
        """Keep the exit codes of unknown children during this block, so that `watch` can be late."""
        self._adoptions += 1
        try:
            yield
        finally:
            self._adoptions -= 1
            if not self._adoptions:
                self._strangers.clear()

    def watch(self, pid: int) -> asyncio.Future[int]:
        """Return a future of an adopted child's exit code.

        Call it before the child is reaped, or in the `adopting` that got it.
        """
        future = self._future(pid)
        if pid in self._strangers:
            del self._waiting[pid]
            future.set_result(self._strangers.pop(pid))
        return future

    def reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._ended(pid, exit_code(status))

    def _ended(self, pid: int, code: int) -> None:
        future = self._waiting.pop(pid, None)
        if future is not None and not future.done():
            future.set_result(code)
        elif future is None and self._adoptions:
            self._strangers[pid] = code

    def _spawn(
        self, argv: Sequence[str], actions: list[tuple[Any, ...]], environment: Mapping[str, str] | None
    ) -> tuple[int, asyncio.Future[int]]:
        variables = os.environ if environment is None else environment
        pid = os.posix_spawnp(
            argv[0], tuple(argv), variables, file_actions=actions, setsid=True, setsigdef=_DEFAULT_SIGNALS
        )
        return pid, self._future(pid)

    def _future(self, pid: int) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[pid] = future
        return future


async def end_of(pid: int, ended: asyncio.Future[int]) -> int:
    """The exit code of a program that was spawned; on cancellation it is killed first, with all that it has started."""
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        if not ended.done():
            os.killpg(pid, signal.SIGKILL)
            await ended
        raise


def exit_code(status: int) -> int:
    """0-255 of a wait status: what the process returned, or 128 + N after signal N."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
