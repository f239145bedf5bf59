"""One cgroup of one hierarchy: made with what is missing above it, filled, and removed. Short calls, which block."""

import contextlib
import errno
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from vmsandbox.errors import Unavailable
from vmsandbox.sandbox.machines.cgroups.hierarchies import NEEDED

_MARGIN = 32 * 1024 * 1024
"""Bytes that a machine may take beyond what it uses when its limit is lowered."""
_END_DEADLINE = 5.0
"""Seconds in which processes that were killed have ended."""
_WEIGHT, _MOST_WEIGHT = 100, 10_000
"""The kernel's default of `cpu.weight`, which is also that of each thread, and its bound."""
_USAGE = {"memory.max": "memory.current", "memory.limit_in_bytes": "memory.usage_in_bytes"}


def make(root: Path, path: str) -> None:
    """Make a cgroup, and those above it that are missing, as runc does.

    With version 2 the controllers that a machine needs are enabled on the way. In the hierarchy cpuset each new one
    gets the CPUs and the memory nodes of the one above, without which it takes no process.

    Raises:
        OSError: the kernel refuses.
    """
    above = root
    for name in path.split("/"):
        if (above / "cgroup.subtree_control").exists():
            _enable(above)
        cgroup = above / name
        with contextlib.suppress(FileExistsError):
            cgroup.mkdir()
        _fill_cpuset(above, cgroup)
        above = cgroup


def limit(cgroup: Path, settings: Mapping[str, str]) -> None:
    """Write settings. A limit of memory is not less than what is used: the kernel would kill for it. Raises OSError."""
    for name, value in settings.items():
        least = _used(cgroup, name)
        write(cgroup / name, str(max(least, int(value))) if least else value)


def move(cgroup: Path, pids: Iterable[int]) -> None:
    """Move processes, with all their threads, into a cgroup; those that have ended are passed over. Raises OSError."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            write(cgroup / "cgroup.procs", str(pid))


def split(cgroup: Path, name: str, threads: Sequence[int]) -> None:
    """Move threads of processes in a cgroup of version 2 into a threaded one below it, which weighs what they weigh.

    The processes and their memory stay in the one above (cgroup-v2.rst, "Threads"). On failure all is as before.

    Raises:
        OSError: the kernel refuses; an older one than 4.14 has no such cgroups.
    """
    below = cgroup / name
    below.mkdir()
    try:
        write(below / "cgroup.type", "threaded")
        write(cgroup / "cgroup.subtree_control", "+cpu")
        write(below / "cpu.weight", str(min(_WEIGHT * len(threads), _MOST_WEIGHT)))
        for thread in threads:
            write(below / "cgroup.threads", str(thread))
    except OSError:
        with contextlib.suppress(OSError):
            move(cgroup, threads)
            below.rmdir()
            write(cgroup / "cgroup.subtree_control", "-cpu")
        raise


def processes(cgroup: Path) -> Iterator[int]:
    """The processes of a cgroup and of those below it; none where it is gone."""
    for directory, _, files in os.walk(cgroup):
        if "cgroup.procs" in files:
            with contextlib.suppress(OSError):  # a threaded one has no processes of its own
                yield from map(int, (Path(directory) / "cgroup.procs").read_text().split())


def remove(cgroup: Path) -> None:
    """Kill what is left in a cgroup and below it, and remove all of it. Succeeds where there is none.

    Raises:
        Unavailable: a process does not end.
    """
    stop = stop_after_delay(_END_DEADLINE)
    retrying = Retrying(retry=retry_if_exception_type(OSError), wait=wait_fixed(0.01), stop=stop, reraise=True)
    try:
        retrying(_kill_and_remove, cgroup)
    except OSError as error:
        raise Unavailable(f"processes in {cgroup} do not end: {error.strerror}") from None


def remove_empty(cgroup: Path) -> None:
    """Remove a cgroup that nobody uses; leave any other. Succeeds where there is none."""
    with contextlib.suppress(OSError):
        cgroup.rmdir()


def write(file: Path, value: str) -> None:
    """Write one of the kernel's files, which is there or is not to be made. Raises OSError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _enable(cgroup: Path) -> None:
    """Give the controllers to those below. What is enabled is not written: it may be systemd's."""
    enabled = (cgroup / "cgroup.subtree_control").read_text().split()
    if missing := [controller for controller in NEEDED if controller not in enabled]:
        write(cgroup / "cgroup.subtree_control", " ".join(f"+{controller}" for controller in missing))


def _fill_cpuset(above: Path, cgroup: Path) -> None:
    """Version 2 has such files too, where an empty one means as above."""
    if (above / "cgroup.subtree_control").exists():
        return
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (cgroup / name).exists() and not (cgroup / name).read_text().strip():
            write(cgroup / name, (above / name).read_text().strip())


def _used(cgroup: Path, setting: str) -> int:
    """Bytes that a limit of memory must leave; 0 for other settings."""
    usage = _USAGE.get(setting)
    return int((cgroup / usage).read_text()) + _MARGIN if usage is not None else 0


def _kill_and_remove(cgroup: Path) -> None:
    for pid in processes(cgroup):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for directory, _, _ in os.walk(cgroup, topdown=False):
        try:
            Path(directory).rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise OSError(error.errno or errno.EBUSY, error.strerror, directory) from None
