"""A container's cgroup (v2): who is in it, what was killed in it for want of memory, and what it uses."""

import contextlib
import os
import signal
from pathlib import Path

from vmsandbox.protocol.messages import Measures


class Cgroup:
    """The cgroup at `path`, which crun makes and removes; everything here copes with its absence."""

    def __init__(self, path: Path) -> None:
        """Name the cgroup."""
        self._path = path

    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        with contextlib.suppress(OSError):
            return self._counters("memory.events").get("oom_kill", 0)
        return 0

    def measure(self, container_id: str) -> Measures | None:
        """What it uses, under the name of its container; None where there is no such cgroup."""
        try:
            memory, limit = self._counters("memory.stat"), (self._path / "memory.max").read_text().strip()
            return Measures(
                container_id,
                cpu=self._counters("cpu.stat")["usage_usec"] * 1000,
                memory=int((self._path / "memory.current").read_text()),
                inactive_file=memory["inactive_file"],
                anon=memory["anon"],
                page_faults=memory["pgfault"],
                major_page_faults=memory["pgmajfault"],
                memory_limit=0 if limit == "max" else int(limit),
            )
        except OSError:
            return None

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

    def _counters(self, file: str) -> dict[str, int]:
        """A file of `name number` lines."""
        lines = (self._path / file).read_text().splitlines()
        return {name: int(count) for name, _, count in (line.partition(" ") for line in lines)}


def _signal_members(members: Path, number: int) -> None:
    with contextlib.suppress(OSError):
        for pid in members.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)
