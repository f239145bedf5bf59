"""A container's cgroup (v2): who is in it, and what was killed in it for want of memory."""

import contextlib
import os
import signal
from pathlib import Path


class Cgroup:
    """The cgroup at `path`, which crun makes and removes; everything here copes with its absence."""

    def __init__(self, path: Path) -> None:
        """Name the cgroup."""
        self._path = path

    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        with contextlib.suppress(OSError):
            for line in (self._path / "memory.events").read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
        return 0

    def signal_all(self, number: int) -> bool:
        """Send a signal to every process in it and below; False where there is no such cgroup."""
        if not self._path.is_dir():
            return False
        if number == signal.SIGKILL and (self._path / "cgroup.kill").exists():
            (self._path / "cgroup.kill").write_text("1")
        else:
            for members in self._path.rglob("cgroup.procs"):
                _signal_members(members, number)
        return True


def _signal_members(members: Path, number: int) -> None:
    with contextlib.suppress(OSError):
        for pid in members.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)
