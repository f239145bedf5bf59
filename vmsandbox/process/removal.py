"""Trees of files removed that a guest may have written."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vmsandbox.process.commands import run
from vmsandbox.process.confinement import unprotected
from vmsandbox.process.identity import oom_score_of

DEADLINE = 600.0
"""Seconds; a guest may have made millions of files."""


async def remove_tree(path: Path, deadline: float = DEADLINE) -> None:
    """Remove what is at `path` and below it, on this file system, following no link. Succeeds where there is nothing.

    rm(1) does it, in a process of its own: it goes down by descriptors, as deep as a guest may have gone, opens nothing
    but directories, and can be killed at the deadline. Python's rmtree opens what was a directory a moment ago, and
    calls itself for each level.

    Args:
        path: what is removed. What is mounted below it must have been unmounted, or stays, and so does `path`.
        deadline: seconds.

    Raises:
        DeadlineExceeded: it took longer; the call may be repeated.
        Internal: something could not be removed; the evidence says what.
    """
    if _is_there(path):
        await run(_removal(path), timeout=deadline)


def remove_tree_blocking(path: Path, deadline: float = DEADLINE) -> bool:
    """Remove a tree like `remove_tree`, in the calling thread. Return whether everything is gone."""
    command = unprotected(_removal(path), oom_score_of("self"))
    try:
        subprocess.run(command, timeout=deadline, check=True, capture_output=True)
    except (subprocess.SubprocessError, OSError):
        return False
    return True


def _removal(path: Path) -> Sequence[str]:
    return ["rm", "-rf", "--one-file-system", "--", str(path)]


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)
