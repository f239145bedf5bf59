"""A command at a terminal of its own: what it draws, what is typed, and how it leaves the terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping

_SEQUENCE = re.compile(rb"\x1b(?:\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07|[()][0-9A-Z])")
_LOCAL_FLAGS = 3


class AtTerminal:
    """A `vmsandbox` whose controlling terminal is ours."""

    def __init__(self, words: list[str], environment: Mapping[str, str], columns: int = 120) -> None:
        self.drawn = b""
        self._status: int | None = None
        self.pid, self.fd = pty.fork()
        if not self.pid:
            line = [sys.executable, "-m", "vmsandbox", *words]
            os.execve(line[0], line, {"PATH": "/usr/bin:/bin", "TERM": "xterm", **environment})
        self.resize(columns)

    def resize(self, columns: int, lines: int = 24) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, text: str, seconds: float = 60) -> str:
        """Return what is drawn from now on to a text, without its control sequences."""
        deadline = time.monotonic() + seconds
        seen = b""
        while text not in (shown := _SEQUENCE.sub(b"", seen).decode(errors="replace")):
            if not (piece := self._read(deadline - time.monotonic())):
                raise AssertionError(f"it did not show {text!r}, but {shown!r}")
            seen += piece
        return shown

    def ended(self) -> int:
        """Wait for its end, and return its status; a negative one is a signal's."""
        while self._read(60):
            pass
        self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def echoes(self) -> bool:
        """Whether the terminal echoes what is typed, and takes it by lines, as shells leave it."""
        flags = termios.tcgetattr(self.fd)[_LOCAL_FLAGS]
        return bool(flags & termios.ECHO) and bool(flags & termios.ICANON)

    def close(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _read(self, seconds: float) -> bytes:
        if not select.select([self.fd], [], [], max(0, seconds))[0]:
            return b""
        try:
            piece = os.read(self.fd, 1 << 16)
        except OSError:  # EIO: nobody has the terminal any more
            return b""
        self.drawn += piece
        return piece
