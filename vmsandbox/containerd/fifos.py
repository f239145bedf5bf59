"""The FIFOs that containerd gives for the streams of a process (fifo(7)).

The other end of each is held as well: a write waits for a containerd that opens its end later, or ends and opens it
again meanwhile, instead of failing, and the input does not end before `close_input`.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.oci_command import wire

_GRACE = 10.0
"""Seconds that output of a killed process waits for its reader, as containerd's own shim does."""


@dataclass(frozen=True, slots=True)
class StreamPaths:
    """The paths of a process's streams; an empty one: it has no such stream."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


class Fifos:
    """The open FIFOs of one process; the caller closes them."""

    def __init__(self, paths: StreamPaths, *, lasting: bool = True) -> None:
        """Open them.

        Args:
            paths: where they are.
            lasting: another reader may come after one that has gone; else output that nobody reads is dropped.

        Raises:
            InvalidArgument, Unimplemented: one is not a FIFO.
        """
        self._stack = contextlib.ExitStack()
        self._lasting = lasting
        self._held: dict[bytes, int] = {}
        self._patience: float | None = None
        self._wait: asyncio.Timeout | None = None
        try:
            outputs = {wire.STDOUT: paths.stdout, wire.STDERR: paths.stderr}
            self._outputs = {kind: self._open_output(kind, path) for kind, path in outputs.items() if path}
            self._input = self._open(paths.stdin, os.O_RDONLY) if paths.stdin else None
            if paths.stdin:
                self._held[wire.STDIN] = self._open(paths.stdin, os.O_WRONLY, own=False)
        except BaseException:
            self.close()
            raise

    def _open_output(self, kind: bytes, path: str) -> int:
        self._held[kind] = self._open(path, os.O_RDONLY, own=False)
        return self._open(path, os.O_WRONLY)

    def _open(self, path: str, flags: int, *, own: bool = True) -> int:
        if "://" in path:
            raise Unimplemented(f"{path}: streams have to be FIFOs")
        try:
            fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise InvalidArgument(f"{path} cannot be opened: {error.strerror}") from None
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            raise InvalidArgument(f"{path} is not a FIFO")
        if own:
            self._stack.callback(os.close, fd)
        return fd

    async def read(self) -> bytes:
        """Return the next piece of input; an empty one is its end."""
        while self._input is not None:
            try:
                return os.read(self._input, wire.PIECE)
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                await _ready(self._input, loop.add_reader, loop.remove_reader)
        return b""

    async def write(self, kind: bytes, data: bytes) -> None:
        """Write output, waiting while nobody reads it; a stream that nobody wants is dropped."""
        while data and (fd := self._outputs.get(kind)) is not None:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                if not self._lasting:  # Its reader has come by now: from here on its end is noticed.
                    self._let_go(kind)
                await self._writable(kind, fd)
            except BrokenPipeError:
                del self._outputs[kind]

    def hurry(self) -> None:
        """Drop output from now on that nobody reads for a moment: its process is killed, and its end is to be known."""
        self._patience = _GRACE
        if self._wait is not None:
            self._wait.reschedule(asyncio.get_running_loop().time() + _GRACE)

    def close_input(self) -> None:
        """Let the input end with containerd's end of it."""
        self._let_go(wire.STDIN)

    def close(self) -> None:
        """Close all: readers see the end."""
        for kind in tuple(self._held):
            self._let_go(kind)
        self._stack.close()

    async def _writable(self, kind: bytes, fd: int) -> None:
        """Wait until a stream can be written, or forget it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience) as self._wait:
                await _ready(fd, loop.add_writer, loop.remove_writer)
        except TimeoutError:
            del self._outputs[kind]
        finally:
            self._wait = None

    def _let_go(self, kind: bytes) -> None:
        """Close containerd's end of a stream, as far as it is held here."""
        if (fd := self._held.pop(kind, None)) is not None:
            os.close(fd)


async def _ready(fd: int, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    ready = asyncio.Event()
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)
