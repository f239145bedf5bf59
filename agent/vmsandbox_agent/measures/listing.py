"""The processes of a container by name, for people (proc(5))."""

import contextlib
import os
import time
from pathlib import Path

from vmsandbox.protocol.messages import MAX_COMMAND, MAX_LISTED, ListedProcess
from vmsandbox_agent.measures.processes import members

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of the unit in which /proc counts."""


def listed(cgroup: Path) -> tuple[ListedProcess, ...]:
    """Return the processes in a cgroup and below, as they see each other; none where it is not."""
    booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    own = {}
    for pid in sorted(members(cgroup))[:MAX_LISTED]:
        with contextlib.suppress(OSError, ValueError, KeyError):  # it has ended
            own[pid] = _read(Path(f"/proc/{pid}"), booted)
    numbers = {pid: process.pid for pid, (process, _) in own.items()}
    return tuple(_with_parent(process, numbers.get(parent, 0)) for process, parent in own.values())


def _read(directory: Path, booted: int) -> tuple[ListedProcess, int]:
    """Return a process without its parent, and the pid of that in the guest."""
    name, _, rest = (directory / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
    stat = rest.split()
    status = dict(line.partition(":")[::2] for line in (directory / "status").read_text(errors="replace").splitlines())
    arguments = (directory / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    process = ListedProcess(
        pid=int(status["NSpid"].split()[-1]),
        parent=0,
        uid=int(status["Uid"].split()[1]),
        started=max(0, booted + int(stat[19]) * _TICK),
        cpu=(int(stat[11]) + int(stat[12])) * _TICK,
        command=_line(arguments or f"[{name}]"),
    )
    return process, int(stat[1])


def _with_parent(process: ListedProcess, parent: int) -> ListedProcess:
    return ListedProcess(process.pid, parent, process.uid, process.started, process.cpu, process.command)


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_COMMAND])
