"""Run the commands of a page's block as a reader would: one after the other, in one shell; or typed at a terminal."""

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.pages import Block, Step

_END = '[ -z "$(jobs -p)" ] || { sleep 0.5; kill $(jobs -p) 2>/dev/null; wait; }'
"""Ends what a block leaves in the background. Before its program is there, such a process can lose a signal."""
_MARK = "--- step"
_PAUSE = 1
"""Seconds between two commands, as a reader who types takes: what a container logs of the first is there by then."""
_PROMPT = re.compile(r"(?P<prompt>/ [#$] |~ [#$] )(?P<typed>.*)")
"""A line of the shown output in which the reader types: what busybox's shell prints first, and what is typed then."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ran: what it printed on either stream, and its exit status."""

    step: Step
    status: int
    printed: str


def run(block: Block, directory: Path, environment: Mapping[str, str], seconds: float) -> Iterator[Ran]:
    """Run a block's commands, and yield each with what it printed.

    Raises:
        subprocess.TimeoutExpired: they took longer than `seconds`, and were killed.
    """
    steps = list(block.steps())
    if len(steps) == 1 and _typed(steps[0]):
        yield _at_a_terminal(steps[0], directory, environment, seconds)
        return
    marked = f"sleep {_PAUSE}\n".join(f"{step.command}\nprintf '\\n{_MARK} %s\\n' $?\n" for step in steps)
    script = f"trap '{_END}' EXIT\n{marked}"
    ran = subprocess.run(
        ["bash", "-c", script], cwd=directory, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    rest = ran.stdout
    for step in steps:
        printed, _, rest = rest.partition(f"\n{_MARK} ")
        status, _, rest = rest.partition("\n")
        yield Ran(step, int(status or ran.returncode), printed)


def _typed(step: Step) -> list[re.Match[str]]:
    return [found for line in step.output or () if (found := _PROMPT.match(line))]


def _at_a_terminal(step: Step, directory: Path, environment: Mapping[str, str], seconds: float) -> Ran:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["bash", "-c", step.command], cwd=directory, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            deadline, seen = time.monotonic() + seconds, ""
            for typed in _typed(step):
                seen += _read(ours, deadline, typed["prompt"])
                os.write(ours, f"{typed['typed']}\n".encode())
            seen += _read(ours, deadline, None)
            status = process.wait(max(0.1, deadline - time.monotonic()))
        finally:
            process.kill()
            os.close(ours)
    return Ran(step, status, seen)


def _read(terminal: int, deadline: float, prompt: str | None) -> str:
    """Read the plain text until a prompt, or to the end: a terminal whose last process has ended gives EIO.

    A shell may ask for the cursor's position behind its prompt.
    """
    seen = b""
    with contextlib.suppress(OSError):
        while prompt is None or not _plain(seen).endswith(prompt):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([terminal], [], [], left)[0]:
                raise subprocess.TimeoutExpired(f"prompt {prompt!r}", 0, seen)
            if not (data := os.read(terminal, 4096)):
                break
            seen += data
    return _plain(seen)


def _plain(seen: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", seen.decode(errors="replace"))
