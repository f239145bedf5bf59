"""The usage of a process, as the host's kernel counts it (proc(5), stat and status)."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.process.identity import stat_of

_SIZE = re.compile(rb"^(\w+):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """The usage of one process: CPU time in nanoseconds since its start, resident memory in bytes."""

    cpu: int
    anonymous: int
    shared: int
    """Pages of memory that several processes map, such as a guest's memory where virtiofsd maps it, too."""
    files: int
    """Pages of files, its program among them."""
    page_faults: int
    major_page_faults: int


def usage_of(pid: int) -> ProcessUsage:
    """Read the usage of a process. Raises OSError, or KeyError when it ends at this moment: it has no memory."""
    fields, sizes = stat_of(pid), sizes_in(Path(f"/proc/{pid}/status").read_bytes())
    minor, major, user, system = (int(fields[place]) for place in (7, 9, 11, 12))
    return ProcessUsage(
        cpu=(user + system) * 1_000_000_000 // os.sysconf("SC_CLK_TCK"),
        anonymous=sizes["RssAnon"],
        shared=sizes["RssShmem"],
        files=sizes["RssFile"],
        page_faults=minor + major,
        major_page_faults=major,
    )


def sizes_in(status: bytes) -> dict[str, int]:
    """The sizes that /proc/PID/status tells, in bytes. Its first line is what the process calls itself."""
    return {name.decode(): int(size) * 1024 for name, size in _SIZE.findall(status)}
