"""crun(1), by its command line: one short-lived process per call, except for starting what it has created."""

import itertools
import os
import signal
from pathlib import Path

from vmsandbox_agent import oom_scores
from vmsandbox_agent.emulation import fixed_addresses
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.reaper import Reaper, end_of
from vmsandbox_agent.settings import Settings

_LOG_KEPT = 4096
"""Bytes of crun's messages that an error carries."""

Fds = tuple[int, int, int]


class Crun:
    """Runs crun with its state, logs and pid files under the agent's own directory."""

    def __init__(self, settings: Settings, reaper: Reaper) -> None:
        """Make the directories that crun writes to."""
        self._reaper = reaper
        self._emulated = settings.emulated
        self._directory = settings.state / "crun"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._state = self._directory / "state"
        self._command = (*settings.crun, f"--root={self._state}")
        self._numbers = itertools.count(1)

    async def create(self, container: str, bundle: Path, fds: Fds | None, console: Path | None) -> int:
        """`crun create`; returns the pid of the container's first process, a child of this one.

        Raises:
            AgentError: crun refused; its messages are in the text.
        """
        arguments = ["create", f"--bundle={bundle}", *_console(console)]
        return await self._launch(arguments, [container], fds)

    async def exec(self, container: str, process: Path, fds: Fds | None, console: Path | None, oom_score: int) -> int:
        """`crun exec` of the runtime-spec process in the file `process`; as `create`.

        crun gives it no oom_score_adj, so crun itself has the container's from its start.
        """
        arguments = ["exec", "--detach", f"--process={process}", *_console(console)]
        return await self._launch(arguments, [container], fds, oom_score)

    def start(self, container: str) -> None:
        """Let the first process of a created container run, as `crun start` does: it waits for a byte in a FIFO.

        crun itself would read its files and the bundle before, which takes a process that has nothing else to do.

        Raises:
            AgentError: nothing waits there.
        """
        fifo = self._state / container / "exec.fifo"
        try:
            with open(fifo, "wb", buffering=0, opener=_without_waiting) as waiting:
                fifo.unlink()  # first: crun takes a container for created as long as it is there
                waiting.write(b"\0")
        except OSError as error:  # ENXIO, EPIPE: its process has ended
            message = f"container {container} does not wait to be started: {error.strerror}"
            raise AgentError("failed_precondition", message) from None

    async def update(self, container: str, resources: Path) -> None:
        """`crun update` with the runtime-spec resources in a file. Raises AgentError."""
        await self._run(["update", f"--resources={resources}", container])

    async def delete(self, container: str) -> None:
        """`crun delete --force`, which succeeds where the container is not known. Raises AgentError."""
        await self._run(["delete", "--force", container])

    async def _launch(
        self, arguments: list[str], operands: list[str], fds: Fds | None, oom_score: int | None = None
    ) -> int:
        pid_file = self._directory / f"{next(self._numbers)}.pid"
        try:
            await self._run([*arguments, f"--pid-file={pid_file}", *operands], fds, oom_score)
            return int(pid_file.read_text())
        except BaseException:
            _kill_recorded(pid_file)
            raise
        finally:
            pid_file.unlink(missing_ok=True)

    async def _run(self, arguments: list[str], fds: Fds | None = None, oom_score: int | None = None) -> None:
        log = self._directory / f"{next(self._numbers)}.log"
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            with oom_scores.inherited(oom_score), fixed_addresses(wanted=self._emulated):
                pid, ended = self._reaper.spawn(
                    [*self._command, f"--log={log}", *arguments], *(fds or (null, null, null))
                )
            code = await end_of(pid, ended)
            if code:
                raise AgentError("failed_precondition", f"crun {arguments[0]}: {_messages(log, code)}")
        finally:
            os.close(null)
            log.unlink(missing_ok=True)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags & ~(os.O_CREAT | os.O_TRUNC) | os.O_NONBLOCK)


def _console(path: Path | None) -> list[str]:
    return [] if path is None else [f"--console-socket={path}"]


def _kill_recorded(pid_file: Path) -> None:
    """A launch that was given up may have got as far as starting its process."""
    try:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
    except (OSError, ValueError):
        return


def _messages(log: Path, code: int) -> str:
    try:
        text = log.read_bytes()[-_LOG_KEPT:].decode(errors="replace").strip()
    except OSError:
        text = ""
    return text or f"ended with status {code}"
