"""The process that stands on the host for one process of a container: the caller reaps it, and learns the exit status.

It has the container's standard streams, or its terminal, and carries them to the daemon and back. Signals that it gets
are the container's, and so are changes of its window. When the daemon is restarted, it waits for the next one.
"""

import contextlib
import os
import select
import signal
import time

from vmsandbox.oci_command import console, wire
from vmsandbox.oci_command.daemon import Connection
from vmsandbox.oci_command.errors import CommandError, ConnectionLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmsandbox.oci_command.memory_kill import MemoryKill

_NOT_PASSED = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGWINCH, signal.SIGTTIN,
               signal.SIGTTOU, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}  # fmt: skip
"""Signals that cannot be caught, or are about this process itself."""

KILLED = 137
"""The exit status of a process that SIGKILL has ended."""

LOST = 255
"""The exit status where the daemon does not know what has become of the process."""

_PAUSE = 0.5
"""Seconds between two attempts to reach a daemon that is being restarted."""


class Proxy:
    """The streams and signals of one process; `run` returns its exit status."""

    def __init__(
        self,
        connection: Connection,
        reconnect: "Callable[[], Connection] | None",
        terminal: int | None,
        memory_kill: "MemoryKill | None" = None,
    ):
        """Own the connection, and take signals from now on.

        Args:
            connection: the daemon's answer was received on it.
            reconnect: makes another one, after a loss; None: a loss is the end.
            terminal: the container's; None: it has the standard streams of this process.
            memory_kill: how the caller is told of a kill for want of memory; None: it is not.
        """
        self._connection = connection
        self._reconnect = reconnect
        self._terminal = terminal
        self._memory_kill = memory_kill
        self._is_memory_kill = False
        self._input = 0 if terminal is None else terminal
        self._outputs = {wire.STDOUT: 1 if terminal is None else terminal, wire.STDERR: 2}
        self._reads = True
        self._pending = b""
        """Frames that are to be sent."""
        self._received = bytearray()
        self._exit: int | None = None
        self._wake = self._catch_signals()

    def run(self) -> int:
        """Carry streams and signals until the process has ended."""
        while True:
            try:
                return self._told(self._carry())
            except (OSError, ConnectionLost, wire.WireError):
                if not self._again():
                    return LOST

    def _told(self, status: int) -> int:
        """Tell the caller of a kill for want of memory, which may be the end of this process."""
        if self._memory_kill is not None and self._is_memory_kill:
            self._memory_kill.tell()
            if status == KILLED:
                self._memory_kill.end_this_process()
        return status

    def _again(self) -> bool:
        """Connect to the next daemon; return whether there is still something to connect to."""
        self._connection.close()
        self._pending, self._received = b"", bytearray()
        while self._reconnect is not None:
            try:
                self._connection = self._reconnect()
            except ConnectionLost:
                time.sleep(_PAUSE)
            except CommandError:  # The daemon does not know the container any more.
                return False
            else:
                if not self._reads:
                    self._pending += wire.pack(wire.STDIN)
                return True
        return False

    def _carry(self) -> int:
        connected = self._connection.socket
        connected.setblocking(False)
        if self._terminal is not None:
            self._tell_window()
        while self._exit is None:
            poll = select.poll()
            poll.register(connected, select.POLLIN | (select.POLLOUT if self._pending else 0))
            poll.register(self._wake, select.POLLIN)
            if self._reads and not self._pending:
                poll.register(self._input, select.POLLIN)
            for fd, _ in poll.poll():
                if fd == self._wake:
                    self._pass_signals()
                elif fd == self._input and self._reads:
                    self._read_input()
            self._send()
            self._receive()
        return self._exit

    def _send(self) -> None:
        try:
            while self._pending:
                self._pending = self._pending[self._connection.socket.send(self._pending) :]
        except BlockingIOError:
            pass
        except OSError:  # The daemon reads no more, but may have sent the end, which is to be received.
            self._pending = b""

    def _receive(self) -> None:
        try:
            data = self._connection.socket.recv(wire.PIECE)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionLost("the daemon has closed the connection")
        self._received += data
        while len(self._received) >= wire.HEADER.size:
            kind, length = wire.header(bytes(self._received[: wire.HEADER.size]))
            end = wire.HEADER.size + length
            if len(self._received) < end:
                return
            payload = bytes(self._received[wire.HEADER.size : end])
            del self._received[:end]
            self._take(kind, payload)

    def _take(self, kind: bytes, payload: bytes) -> None:
        if kind == wire.EXIT:
            self._exit = wire.number(payload)
        elif kind == wire.MESSAGE and wire.message(payload).get("oom"):
            self._is_memory_kill = True
        elif kind in self._outputs:
            _write(self._outputs[kind], payload)

    def _read_input(self) -> None:
        try:
            data = os.read(self._input, wire.PIECE)
        except OSError:  # A terminal whose other end is closed.
            data = b""
        self._reads = bool(data)
        if data or self._terminal is None:
            self._pending += wire.pack(wire.STDIN, data)

    def _catch_signals(self) -> int:
        """Have every signal as a byte in a pipe; return its end."""
        end, begin = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in signal.valid_signals() - _NOT_PASSED | {signal.SIGWINCH}:
            with contextlib.suppress(OSError, ValueError):  # The first real-time signals are the C library's.
                signal.signal(number, _ignore)
        signal.set_wakeup_fd(begin, warn_on_full_buffer=False)
        return end

    def _pass_signals(self) -> None:
        for number in os.read(self._wake, 256):
            if number == signal.SIGWINCH:
                self._tell_window()
            else:
                self._pending += wire.pack_number(wire.SIGNAL, number)

    def _tell_window(self) -> None:
        if self._terminal is not None and all(size := console.window(self._terminal)):
            self._pending += wire.pack_window(*size)


def _ignore(_: int, __: object) -> None:
    """Take a signal; `_pass_signals` reads its number."""


def _write(fd: int, data: bytes) -> None:
    """Write all of it; nothing happens where nobody reads any more."""
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(fd, data) :]
