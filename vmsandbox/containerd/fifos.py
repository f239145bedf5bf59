"""The FIFOs that containerd gives for the streams of a process (fifo(7)).

containerd may end and open them again meanwhile: those for output are opened for reading as well, so that a write waits
for it instead of failing, and a second descriptor keeps the one for input from its end until `close_input`.
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


@dataclass(frozen=True, slots=True)
class StreamPaths:
    """The paths of a process's streams; an empty one: it has no such stream."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


class Fifos:
    """The open FIFOs of one process; the caller closes them."""

    def __init__(self, paths: StreamPaths) -> None:
        """Open them. Raises InvalidArgument, Unimplemented: one is not a FIFO."""
        self._stack = contextlib.ExitStack()
        try:
            outputs = {wire.STDOUT: paths.stdout, wire.STDERR: paths.stderr}
            self._outputs = {kind: self._open(path, os.O_RDWR) for kind, path in outputs.items() if path}
            self._input = self._open(paths.stdin, os.O_RDONLY) if paths.stdin else None
            self._held = self._open(paths.stdin, os.O_WRONLY, own=False) if paths.stdin else None
        except BaseException:
            self._stack.close()
            raise

    def _open(self, path: str, flags: int, *, own: bool = True) -> int:
        if "://" in path:
            raise Unimplemented(f"{path}: streams have to be FIFOs")
        try:
            fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise InvalidArgument(f"{path} cannot be opened: {error.strerror}") from None
        if own:
            self._stack.callback(os.close, fd)
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise InvalidArgument(f"{path} is not a FIFO")
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
        fd = self._outputs.get(kind)
        while fd is not None and data:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                loop = asyncio.get_running_loop()
                await _ready(fd, loop.add_writer, loop.remove_writer)

    def close_input(self) -> None:
        """Let the input end with containerd's end of it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def close(self) -> None:
        """Close all: readers see the end."""
        self.close_input()
        self._stack.close()


async def _ready(fd: int, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    ready = asyncio.Event()
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)
