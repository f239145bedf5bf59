"""A container's process, or an exec's, from its start to the event that tells its end."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from vmsandbox.protocol.messages import Exit
from vmsandbox_agent.events import EventLog
from vmsandbox_agent.measures import Cgroup
from vmsandbox_agent.settings import DRAIN_GRACE
from vmsandbox_agent.streams import Stdio


class Process:
    """A running process; its end becomes an `Exit` event once its output has been read."""

    def __init__(
        self,
        pid: int,
        ended: asyncio.Future[int],
        stdio: Stdio,
        *,
        container_id: str,
        exec_id: str,
        cgroup: Cgroup,
        events: EventLog,
        ends_all: bool = False,
    ) -> None:
        """Watch the child `pid`, whose exit code `ended` becomes; owns `stdio`.

        With `ends_all` its end is that of all in its cgroup: the kernel sees to that only in a PID namespace of its
        own.
        """
        self.pid = pid
        self.stdio = stdio
        self.exit_code: int | None = None
        self._events = events
        self._event: int | None = None
        self._reaped = asyncio.Event()
        self._pidfd = os.pidfd_open(pid) if not ended.done() else None
        self._ends_all = ends_all
        self._patience = None if exec_id else DRAIN_GRACE
        """Seconds for its children to close its output; the caller of a command waits for them, as with containerd."""
        self._story = asyncio.create_task(self._live(ended, container_id, exec_id, cgroup))

    @property
    def running(self) -> bool:
        """Whether it has not been reaped."""
        return self.exit_code is None

    @property
    def taken(self) -> bool:
        """Whether the host knows that it has ended, and has all of its output."""
        return (
            self._event is not None
            and self._events.acknowledged(self._event)
            and all(output.taken for output in self.stdio.outputs)
        )

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self._pidfd is not None:
            _send(self._pidfd, number)

    def signal_session(self, number: int) -> None:
        """Send a signal to the process and to those of its children that stayed in its session.

        SIGKILL is also the end of its output, whichever of its children hold it.
        """
        if number == signal.SIGKILL:
            self._give_up_output()
        if self._pidfd is not None:
            session = os.getsid(self.pid)  # its own, or that of the crun which started it
            for pid in _members(session):
                _send_to_member(pid, session, number)
            self.signal(number)

    async def abandon(self) -> None:
        """Kill it, wait for its end, and let go of output that was not read yet."""
        self.signal(signal.SIGKILL)
        await self._reaped.wait()
        self.stdio.close()
        await self._story

    async def _live(self, ended: asyncio.Future[int], container_id: str, exec_id: str, cgroup: Cgroup) -> None:
        kills = cgroup.oom_kills() if exec_id else 0
        code = await ended
        if self._ends_all:
            cgroup.signal_all(signal.SIGKILL)
        at = time.time_ns()
        oom_killed = cgroup.oom_kills() > kills
        self._has_ended(code)
        await asyncio.gather(*(output.drain(self._patience) for output in self.stdio.outputs))
        self._event = self._events.append(Exit(container_id, code, at, exec_id, oom_killed))

    def _give_up_output(self) -> None:
        self._patience = DRAIN_GRACE
        if not self.running:
            for output in self.stdio.outputs:
                output.finish()

    def _has_ended(self, code: int) -> None:
        self.exit_code = code
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        self.stdio.process_ended()
        self._reaped.set()


def _send(pidfd: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def _send_to_member(pid: int, session: int, number: int) -> None:
    """Signal `pid` when, looked at through a pidfd, it still is of that session: pids are reused."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            if os.getsid(pid) == session:
                _send(pidfd, number)
        finally:
            os.close(pidfd)


def _members(session: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(entry.name)) == session:
                    yield int(entry.name)
