"""The pages that a boot leaves in memory and nobody needs again: they go before a machine waits for its pod.

A machine that goes on from a template takes of the host what is not zero in the saved state. The files that were read
for the imports are cache that nobody looks at again; and what is free, but lies in pieces that are too small to be
reported to the host (2 MiB), has what was there before.
"""

import mmap
from pathlib import Path

_PROC = Path("/proc")
_REPORTED = 9
"""The order of pieces that the kernel reports to the host (page_reporting.c, x86-64): 2 MiB."""


def drop(proc: Path = _PROC) -> None:
    """Let the kernel forget all of the files that nobody has mapped, and write zeros over what is free in pieces."""
    (proc / "sys/vm/drop_caches").write_text("3\n")
    if size := pages_to_clear((proc / "buddyinfo").read_text()) * mmap.PAGESIZE:
        mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def pages_to_clear(buddyinfo: str) -> int:
    """Return how many pages are free in pieces that are not reported, at most half of what is free (proc(5))."""
    words = (line.split() for line in buddyinfo.splitlines())
    zones = [[int(count) << order for order, count in enumerate(line[4:])] for line in words if line[3] != "DMA"]
    return min(sum(sum(zone[:_REPORTED]) for zone in zones), sum(map(sum, zones)) // 2)
