"""The three streams of a process: pipes, or one pty that crun hands over through a console socket."""

import asyncio
import fcntl
import itertools
import os
import socket
import struct
import termios
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.protocol.messages import Stream
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.streams.input import ProcessInput
from vmsandbox_agent.streams.output import ProcessOutput


class Terminal:
    """The master of a pty, held for its window size. Owns its file descriptor."""

    def __init__(self, fd: int) -> None:
        """Take over `fd`."""
        self._fd: int | None = fd

    def resize(self, columns: int, rows: int) -> None:
        """Set the window size. Raises AgentError when the terminal is gone or the size is not valid."""
        if self._fd is None:
            raise AgentError("failed_precondition", "the process has ended")
        if not (0 <= columns < 65536 and 0 <= rows < 65536):
            raise AgentError("invalid_argument", f"a window cannot have {columns} columns and {rows} rows")
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Let the terminal go; also a second time."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@dataclass(frozen=True, slots=True)
class Stdio:
    """The agent's ends of a process's streams; with a terminal, there is no `stderr`."""

    stdin: ProcessInput | None
    stdout: ProcessOutput
    stderr: ProcessOutput | None = None
    terminal: Terminal | None = None

    def stream(self, stream: Stream) -> ProcessInput | ProcessOutput:
        """The end for `stream`. Raises AgentError when the process was made without it."""
        found = {Stream.STDIN: self.stdin, Stream.STDOUT: self.stdout, Stream.STDERR: self.stderr}[stream]
        if found is None:
            raise AgentError("failed_precondition", f"the process has no {stream.value}")
        return found

    @property
    def outputs(self) -> tuple[ProcessOutput, ...]:
        """The output streams there are."""
        return (self.stdout,) if self.stderr is None else (self.stdout, self.stderr)

    def resize(self, columns: int, rows: int) -> None:
        """Set the window size of the terminal. Raises AgentError when there is none."""
        if self.terminal is None:
            raise AgentError("failed_precondition", "the process has no terminal")
        self.terminal.resize(columns, rows)

    def close(self) -> None:
        """Give up all ends at once, for a process that was not started or is being deleted."""
        self.process_ended()
        for output in self.outputs:
            output.cut()

    def process_ended(self) -> None:
        """Close what leads to the process; what it has written can still be read."""
        if self.stdin is not None:
            self.stdin.close()
        if self.terminal is not None:
            self.terminal.close()


def terminal_stdio(master: int, *, stdin: bool) -> Stdio:
    """The ends of a process that has a terminal; they own the pty's master."""
    source = ProcessInput(os.dup(master), terminal=True) if stdin else None
    return Stdio(source, ProcessOutput(master), terminal=Terminal(os.dup(master)))


class Pipes:
    """Pipes for a process that is about to be started."""

    def __init__(self, source: Path | None) -> None:
        """With a `source` the process reads that file; else there is a pipe for its input."""
        child_in, agent_in = _pipe() if source is None else (os.open(source, os.O_RDONLY | os.O_CLOEXEC), None)
        out_read, out_write = _pipe()
        err_read, err_write = _pipe()
        self.child = (child_in, out_write, err_write)
        stdin = None if agent_in is None else ProcessInput(agent_in, terminal=False)
        self.stdio = Stdio(stdin, ProcessOutput(out_read), ProcessOutput(err_read))

    def close_child(self) -> None:
        """Close the process's ends, which it has inherited."""
        for fd in self.child:
            os.close(fd)


def _pipe() -> tuple[int, int]:
    return os.pipe2(os.O_CLOEXEC)


class ConsoleSocket:
    """The Unix socket to which crun sends the master of the pty it made (runc's `--console-socket`)."""

    _numbers = itertools.count(1)

    def __init__(self, directory: Path) -> None:
        """Listen in `directory`, whose path is short (unix(7): 108 bytes)."""
        self.path = directory / f"{next(self._numbers)}.tty"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(str(self.path))
        self._listener.listen(1)

    async def receive(self, *, stdin: bool) -> Stdio:
        """The terminal; crun has sent it when it has ended.

        Raises:
            AgentError: it sent something else.
        """
        sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        with sock:
            sock.setblocking(True)
            _, fds, _, _ = socket.recv_fds(sock, 4096, 1, socket.MSG_CMSG_CLOEXEC)
        if not fds:
            raise AgentError("internal", "crun sent no terminal")
        return terminal_stdio(fds[0], stdin=stdin)

    def close(self) -> None:
        """Remove the socket."""
        self._listener.close()
        self.path.unlink(missing_ok=True)
