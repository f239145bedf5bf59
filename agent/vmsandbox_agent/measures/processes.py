"""The processes of a container, and what they have open."""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vmsandbox.protocol.messages import ProcessMeasures
from vmsandbox_agent.measures.cgroup_files import limit, number

_MOST = 4096
"""Descriptors that are looked at, and processes: each costs a call or two of the kernel."""

_THREADS_MAX = Path("/proc/sys/kernel/threads-max")


def members(cgroup: Path) -> list[int]:
    """The pids of all in a cgroup and below; none where it is not."""
    found: list[int] = []
    for file in cgroup.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):
            found.extend(map(int, file.read_text().split()))
    return found


def measure(cgroup: Path, first: int) -> ProcessMeasures | None:
    """Count processes, threads and files of the container of `first`; None if the kernel does not count them."""
    try:
        pids = members(cgroup)
        threads, threads_max = number(cgroup / "pids.current"), limit(cgroup / "pids.max")
    except OSError:
        return None
    opened = list(itertools.islice(_opened(pids[:_MOST]), _MOST))
    return ProcessMeasures(
        processes=len(pids),
        threads=threads,
        threads_max=number(_THREADS_MAX) if threads_max is None else threads_max,
        descriptors=len(opened),
        sockets=sum(what.startswith("socket:") for what in opened),
        files_max=_files_max(first),
    )


def _opened(pids: Sequence[int]) -> Iterator[str]:
    """Yield the target of each descriptor, from /proc: `socket:[4711]`, a path."""
    for pid in pids:
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    yield os.readlink(descriptor)  # noqa: PTH115 - thousands of them


def _files_max(pid: int) -> int | None:
    """Return the soft limit of open files (proc(5)); None if the process has no limit or has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
            if line.startswith("Max open files "):
                soft = line.split()[3]
                return None if soft == "unlimited" else int(soft)
    return None
