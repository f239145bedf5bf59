"""Kills by the kernel for want of memory: whether a machine was hit, and whose limit it was beyond."""

import contextlib
from pathlib import Path


def killed_by(hierarchy: Path, path: str) -> str:
    """Say, for people, for want of which memory a process of a cgroup was killed; empty: none was, or it is gone.

    Args:
        hierarchy: the one that limits memory.
        path: of the cgroup.
    """
    cgroup = hierarchy / path
    if not _counts(cgroup).get("oom_kill"):
        return ""
    if _is_full(cgroup):
        return "beyond the machine's memory limit"
    for above in cgroup.parents:
        if above == hierarchy:
            break
        if _is_full(above):
            return f"beyond the memory limit of its pod's cgroup /{above.relative_to(hierarchy)}"
    return "because the host was out of memory"


def _counts(cgroup: Path) -> dict[str, int]:
    """The numbers of version 2's memory.events, and of version 1's memory.oom_control."""
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(OSError):
            pairs = (line.split() for line in (cgroup / name).read_text().splitlines())
            return {name: int(number) for name, number in pairs}
    return {}


def _is_full(cgroup: Path) -> bool:
    """Whether a cgroup has met its own limit. Version 2 counts those that led to a kill; version 1 each time."""
    with contextlib.suppress(OSError):
        lines = (cgroup / "memory.events.local").read_text().splitlines()
        return any(line.startswith("oom ") and line != "oom 0" for line in lines)
    with contextlib.suppress(OSError):
        return int((cgroup / "memory.failcnt").read_text()) > 0
    return False
