"""The order in which the kernel kills when memory is short (proc(5), oom_score_adj): the agent and its helpers last.

The kernel never kills PID 1. Everything that the agent starts has its score, unless it is given another one.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

LAST = -999
"""After everybody else. With -1000 a container's first process would not be killed before crun has given it its score,
and the container's limit of memory could not be kept."""


def give(pid: int | str, score: int) -> None:
    """Give a process its score, which is also the least that it may give itself. Raises OSError."""
    Path(f"/proc/{pid}/oom_score_adj").write_text(str(score))


def protect() -> None:
    """Give this process, and what it starts from now on, the last place, if it has the right to do so."""
    with contextlib.suppress(PermissionError):
        give("self", LAST)


@contextlib.contextmanager
def inherited(score: int | None) -> Iterator[None]:
    """Start processes with this score in the block, or with the agent's own if there is none."""
    if score is None:
        yield
        return
    with contextlib.suppress(PermissionError):
        give("self", score)
    try:
        yield
    finally:
        protect()
