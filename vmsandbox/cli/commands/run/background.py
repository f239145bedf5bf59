"""A process that a shell waits for, and that can go on in the background: `run -d`, and the keys that detach.

It is two processes from the start on, since a program with threads cannot be divided: the one that was called waits
for the one that works, in the same group, and so at the same terminal. When the work goes to the background, the
process that waited ends; the other one leaves the terminal and its session, and writes to a file from then on.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1


class Background:
    """The working process's way into the background. `divide` makes it."""

    def __init__(self, told: int) -> None:
        """Tell the process that waits by a pipe, which is owned."""
        self._told = told
        self.left = False
        """Whether the work has gone to the background."""

    def leave(self, log: Path, result: str = "") -> None:
        """Go to the background; the process that waits prints `result` and ends with status 0.

        Args:
            log: where standard output and error go, made if it is missing, for root alone.
            result: a line for standard output.
        """
        if self.left:
            return
        self.left = True
        _on_parents_death(0)
        with contextlib.suppress(PermissionError):  # it leads a group already
            os.setsid()
        sys.stdout.flush()
        sys.stderr.flush()
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for number, fd in enumerate((nothing, target, target)):
            os.dup2(fd, number)
        os.close(target)
        os.close(nothing)
        os.write(self._told, f"{result}\n".encode())
        os.close(self._told)


def divide() -> Background:
    """Go on in a process of its own, which may leave; the caller's waits for it, and never returns from here.

    Call it before there is a thread or an event loop.
    """
    heard, told = os.pipe()
    caller = os.getpid()
    working = os.fork()
    if working:
        os.close(told)
        _wait(working, heard)
    os.close(heard)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # It ends the process that waits, and that asks us to end.
    _on_parents_death(signal.SIGTERM)
    if os.getppid() != caller:
        os._exit(1)
    return Background(told)


def _wait(working: int, heard: int) -> NoReturn:
    """Wait until the work has ended, whose status becomes ours, or has gone to the background."""

    def hand_on(number: int, _: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(working, number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A terminal sends it to the group, and so to both.
    signal.signal(signal.SIGTERM, hand_on)
    said = b""
    while piece := os.read(heard, 4096):
        said += piece
    if said:
        sys.stdout.write(said.decode().lstrip("\n"))
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(working, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _on_parents_death(number: int) -> None:
    """Have the kernel send a signal when the parent ends (prctl(2)); 0: none."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
