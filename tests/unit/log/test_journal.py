"""Where log lines go, and that a flood of them is bounded."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from vmsandbox.log import Subject, about
from vmsandbox.log.flood import _KINDS, MOST, WINDOW, Flood

PROGRAM = """
import os, sys
from vmsandbox import log
if sys.argv[2] == "own":
    os.environ["JOURNAL_STREAM"] = f"{os.fstat(2).st_dev}:{os.fstat(2).st_ino}"
log.configure("info", sys.argv[1])
log.get("vmsandbox.x").warning("said")
log.get("vmsandbox.x").debug("not said")
"""


def said(form: str, stream: str) -> str:
    """The output of a process whose stderr is a pipe, as the journal's is a socket."""
    environment = {**os.environ, "JOURNAL_STREAM": stream}
    command = [sys.executable, "-c", PROGRAM, form, stream]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr


def test_where_stderr_is_the_journal_lines_have_priorities_and_no_time() -> None:
    assert said("text", "own") == "<4>x: said\n"
    assert said("json", "own").startswith('<4>{"time": ')


@pytest.mark.parametrize("stream", ["", "1:2", "nonsense"])
def test_elsewhere_lines_have_a_time_and_no_priorities(stream: str) -> None:
    assert said("text", stream).endswith(" WARNING x: said\n")
    assert json.loads(said("json", stream))["message"] == "said"


def test_a_line_that_cannot_be_written_is_lost_without_more_noise() -> None:
    program = 'import sys; from vmsandbox import log; log.configure(); log.get("vmsandbox.x").error("y"); print("ends")'
    with open("/dev/full", "w") as full:
        ran = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False)
    assert ran.stdout == b"ends\n"


class Clock:
    """The time, set by a test."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passes(clock: Clock) -> Callable[..., int | None]:
    """Log a message; the number of those that it says were left out, or None if it is one of them."""
    flood = Flood(clock)

    def log(message: str = "lost %s", level: int = logging.WARNING) -> int | None:
        record = logging.LogRecord("vmsandbox.x", level, "x.py", 1, message, ("y",), None)
        return getattr(record, "left_out", 0) if flood.filter(record) else None

    return log


def test_a_message_that_repeats_is_left_out_and_counted(passes: Callable[..., int | None], clock: Clock) -> None:
    assert [passes() for _ in range(MOST + 5)] == [0] * MOST + [None] * 5
    clock.now += WINDOW
    assert (passes(), passes()) == (5, 0)


def test_other_messages_other_levels_and_other_pods_are_not_left_out(passes: Callable[..., int | None]) -> None:
    while passes() is not None:
        pass
    assert passes("other %s") == 0
    assert passes(level=logging.ERROR) == 0
    with about(Subject("a")):
        assert [passes() for _ in range(MOST + 1)] == [0] * MOST + [None]
    with about(Subject("b")):
        assert passes() == 0
    assert passes() is None


def test_messages_for_debugging_all_pass(passes: Callable[..., int | None]) -> None:
    assert [passes(level=logging.DEBUG) for _ in range(MOST * 2)] == [0] * MOST * 2


def test_kinds_that_are_counted_are_bounded(passes: Callable[..., int | None]) -> None:
    while passes() is not None:
        pass
    for number in range(_KINDS):
        passes(f"{number} %s")
    assert passes() == 0, "it is forgotten"


def test_a_task_keeps_the_subject_that_it_was_started_with() -> None:
    import asyncio

    from vmsandbox.log.subject import current

    async def told() -> str:
        await asyncio.sleep(0)
        subject = current()
        return subject.pod_id if subject else ""

    async def main() -> list[str]:
        with about(Subject("a")):
            first = asyncio.create_task(told())
            with about(Subject("b")):
                second = asyncio.create_task(told())
        return [await first, await second, await told()]

    assert asyncio.run(main()) == ["a", "b", ""]
