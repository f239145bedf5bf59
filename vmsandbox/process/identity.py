"""Processes that need not be ours: what the kernel tells of them (proc(5)), and which of them is which."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on, the state (proc(5)). Raises OSError where there is no process."""
    # The field before is what the process calls itself: any bytes.
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def name_of(pid: int) -> str:
    """Return the name of a process, 15 bytes at most (proc(5), comm). Raises OSError if the process is gone."""
    return Path(f"/proc/{pid}/comm").read_text(errors="replace").removesuffix("\n")


def user_of(pid: int) -> int:
    """Return the real user id of a process (proc(5), status). Raises OSError where there is no process."""
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Uid:"))


def oom_score_of(pid: int | str) -> int:
    """Return a process's oom_score_adj (proc(5)); `self` is this one. Raises OSError where there is no process."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that can be recognized after a restart of this one: pids are reused, start times are not."""

    pid: int
    start_time: int
    """Clock ticks since boot, field 22 of /proc/PID/stat (proc(5))."""

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """The identity of a running process, or None where there is none.

        A zombie does not count, except one whose other threads go on after its first has ended.
        """
        try:
            fields = stat_of(pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        if fields[0] == "Z" and int(fields[17]) < 2:  # field 20, num_threads
            return None
        return cls(pid, int(fields[19]))

    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        return ProcessIdentity.of(self.pid) == self

    def kill(self) -> None:
        """Send SIGKILL through a pidfd, so that a reused pid is never hit. Does nothing when it has ended."""
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM, like `kill`."""
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(self.pid)
            try:
                if self.alive():
                    signal.pidfd_send_signal(fd, number)
            finally:
                os.close(fd)

    async def ended(self) -> None:
        """Return when it has ended; a pidfd tells at once, also of a process that is not our child."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        loop = asyncio.get_running_loop()
        seen = asyncio.Event()
        try:
            loop.add_reader(fd, seen.set)
            if self.alive():
                await seen.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)
