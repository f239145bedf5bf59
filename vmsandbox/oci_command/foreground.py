"""`run` and `exec` without --detach: this process waits for the container's, and carries its terminal."""

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import termios
import tty

from vmsandbox.oci_command import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER (prctl(2))."""
_PASSED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)


def adopt_orphans() -> None:
    """Be the parent of processes that children of this one leave: their exit status is told to it."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def wait(pid: int, terminal: int | None) -> int:
    """Wait for the process of a container, which is a child, and pass signals on; return its exit status.

    Args:
        pid: of the process on the host.
        terminal: the caller's end of the container's terminal, carried to and from the standard streams; None: the
            process has these itself.
    """
    for number in _PASSED:
        signal.signal(number, lambda passed, _: _kill(pid, passed))
    if terminal is not None:
        with _raw_input():
            signal.signal(signal.SIGWINCH, lambda _, __: _copy_window(terminal))
            _copy_window(terminal)
            _carry(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def received_terminal(end: socket.socket) -> int:
    """Return the terminal that was sent to a socket as to a console socket."""
    _, [terminal], _, _ = socket.recv_fds(end, 4096, 1)
    return terminal


def _carry(terminal: int) -> None:
    """Carry bytes until the container's end of the terminal is closed."""
    read_from = [terminal, 0]
    while True:
        for fd in select.select(read_from, [], [])[0]:
            try:
                data = os.read(fd, wire.PIECE)
            except OSError:  # The other end is closed.
                data = b""
            if fd == terminal and not data:
                return
            if not data:
                read_from.remove(0)
            _write(1 if fd == terminal else terminal, data)


def _write(fd: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # Nobody reads any more.
        while data:
            data = data[os.write(fd, data) :]


@contextlib.contextmanager
def _raw_input() -> "Iterator[None]":
    """Have keys pass as they are: the guest's terminal interprets them. Does nothing without a terminal here."""
    try:
        before = termios.tcgetattr(0)
    except termios.error:
        yield
        return
    tty.setraw(0, termios.TCSADRAIN)  # What was typed before is not lost.
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _copy_window(terminal: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
