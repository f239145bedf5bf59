"""The guest's console, read for diagnosis: what it printed last, bounded whatever it prints."""

import asyncio
import contextlib
import re
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

KEPT = 64 * 1024
"""Bytes of the console that are kept."""
LONGEST_LINE = 400
"""Characters of a line that are shown."""

_PIECE, _PIECES = 64 * 1024, 4
_PAUSE = 0.1
"""Seconds between two reads: a guest that prints without end costs the host little. What it prints meanwhile waits in
the socket, and then QEMU drops it, without holding the guest up."""

_PANIC = "Kernel panic - not syncing"
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]*[0-~])")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


class ConsoleReader:
    """A context that reads the console's socket while it lasts; what was read stays available after it.

    It takes whatever comes: a console that is not there, or ends, is a console that says no more.
    """

    def __init__(self, path: Path) -> None:
        """Read the Unix socket at `path`, on which QEMU listens; nothing is opened before the context is entered."""
        self._path = path
        self._kept = bytearray()
        self._seen = 0
        self._socket: socket.socket | None = None
        self._pause: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Connect; QEMU drops what the guest prints while nobody is connected."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.setblocking(False)
        try:
            connected.connect(str(self._path))
        except OSError:
            connected.close()
            return self
        self._socket = connected
        self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take what is still there, and let go of the console."""
        self._read()
        self._close()

    def last_lines(self, count: int) -> list[str]:
        """The last `count` lines that the guest has printed, up to this moment, as safe text.

        They end with the first line of a kernel's panic: what led to it says why, not the registers printed after it.
        """
        self._read()
        lines = [line for line in map(_clean, self._kept.decode(errors="replace").split("\n")) if line]
        panics = [number for number, line in enumerate(lines) if _PANIC in line]
        return lines[: panics[-1] + 1 if panics else None][-count:]

    def since(self, position: int) -> tuple[str, int]:
        """Return what the guest has printed from a position on, and the position of its end.

        Args:
            position: bytes from the beginning; what came so early that it is not kept any more is left out.

        Returns:
            the text, with all that a guest may put into it, and the position.
        """
        self._read()
        first = self._seen - len(self._kept)
        return self._kept[max(0, position - first) :].decode(errors="replace"), self._seen

    def _listen(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._on_readable)

    def _on_readable(self) -> None:
        self._read()
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            self._pause = loop.call_later(_PAUSE, self._listen)

    def _read(self) -> None:
        """Take what the socket holds; what a dead machine has left in it is no more than `_PIECES`."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_PIECES):
                if self._socket is not None and not self._read_piece(self._socket):
                    self._close()

    def _read_piece(self, connected: socket.socket) -> bool:
        """Whether the console goes on. Raises BlockingIOError where nothing is to be read."""
        try:
            data = connected.recv(_PIECE)
        except ConnectionError:
            return False
        self._kept += data
        self._seen += len(data)
        del self._kept[:-KEPT]
        return bool(data)

    def _close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None


def _clean(line: str) -> str:
    """A line without what would steer a terminal or a log reader."""
    return _UNPRINTABLE.sub("", _ESCAPES.sub("", line)).rstrip()[:LONGEST_LINE]
