"""Compiling the small kernel in the background: a process of its own, below all else that the host does."""

import os
from collections.abc import Sequence
from pathlib import Path

from vmsandbox import process
from vmsandbox.errors import FailedPrecondition
from vmsandbox.guestimage.inputs import DEBIAN, SMALL
from vmsandbox.guestimage.manifest import BuiltImage
from vmsandbox.process import ProcessIdentity

LOG = Path("/var/cache/vmsandbox/log/small-kernel.log")
_IDLE = ("nice", "--adjustment=19", "ionice", "--class=idle", "chrt", "--idle", "0")
"""Only the CPU time and the disk time that nobody else wants (ioprio_set(2), sched(7))."""


def kernel_of(image: BuiltImage) -> str:
    """DEBIAN or SMALL: the kernel that an image has, by the packages that it was made of."""
    compiled = any(name.startswith("linux-source") for name in image.manifest.packages)
    return SMALL if compiled else DEBIAN


def compiling(output: Path) -> int | None:
    """The process that compiles a kernel for images in `output` now, as it holds the lock (proc_locks(5)).

    This does not try the lock itself, since that takes it for a moment, in which a compilation would not begin.
    """
    try:
        inode = (output / "kernel" / "lock").stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    held = (line.split() for line in lines if f":{inode} " in line and " -> " not in line)
    return next((int(fields[4]) for fields in held if fields[1] == "FLOCK"), None)


async def start(command: Sequence[str], output: Path, log: Path = LOG) -> ProcessIdentity:
    """Start a program that compiles a kernel; it outlives this process, and its messages go to `log`.

    Raises:
        FailedPrecondition: a kernel is being compiled already, or ionice, chrt or nice is not installed.
    """
    if pid := compiling(output):
        raise FailedPrecondition(f"the process {pid} compiles a kernel already", hint=f"{log} says how far it is")
    log.parent.mkdir(parents=True, exist_ok=True)
    return await process.start_daemon([*_IDLE, *command], log)


async def hurry() -> None:
    """Take part in the CPU time as others do, where this process was started by `start`.

    For what is left when the kernel is compiled: half a minute, with a lock for which others do not wait.
    """
    if os.sched_getscheduler(0) == os.SCHED_IDLE:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 0)
        await process.run(["ionice", "--class=best-effort", f"--pid={os.getpid()}"])
