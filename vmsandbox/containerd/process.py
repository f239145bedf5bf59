"""One process of a container, its own or that of an exec: its streams on their way, and its end."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vmsandbox import aio
from vmsandbox.containerd.daemon import Daemon
from vmsandbox.containerd.fifos import Fifos, StreamPaths
from vmsandbox.errors import FailedPrecondition, Unavailable, VmsandboxError
from vmsandbox.oci_command import wire
from vmsandbox.oci_command.frames import Connection, Disconnected

LOST = 255
"""The exit status where the daemon does not know what has become of the process."""

_PAUSE = 0.5
"""Seconds between two attempts to reach a daemon that is being restarted."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a process."""

    status: int
    at: int = field(default_factory=time.time_ns)
    """Nanoseconds since 1970."""
    killed_for_memory: bool = False


class Process:
    """A process; `run` carries its streams to its end."""

    def __init__(self, daemon: Daemon, request: Mapping[str, Any], paths: StreamPaths, *, lasting: bool) -> None:
        """Name it.

        Args:
            daemon: is asked for the streams.
            request: the call that is made for them, with its arguments.
            paths: of its streams.
            lasting: it outlives the daemon: another one is asked.
        """
        self._daemon = daemon
        self._request = dict(request)
        self._paths = paths
        self._lasting = lasting
        self._connection: Connection | None = None
        self._fifos: Fifos | None = None
        self._input_ended = False
        self._oom = False

    async def connect(self) -> None:
        """Open its streams; an exec begins. Raises VmsandboxError."""
        self._fifos = Fifos(self._paths, lasting=self._lasting)
        try:
            self._connection = await self._daemon.open(**self._request)
        except BaseException:
            self._fifos.close()
            raise

    async def run(self) -> Exit:
        """Carry streams until the process has ended."""
        try:
            if self._fifos is None:
                with contextlib.suppress(VmsandboxError):  # The reader has gone with an earlier process of ours.
                    self._fifos = Fifos(self._paths)
            return Exit(await self._carried(), killed_for_memory=self._oom)
        finally:
            for each in (self._connection, self._fifos):
                if each is not None:
                    each.close()

    async def resize(self, columns: int, rows: int) -> None:
        """Set its window. Raises FailedPrecondition: it does not run."""
        await self._send(wire.pack_window(columns, rows))

    async def signal(self, number: int) -> None:
        """Send it a signal. Raises FailedPrecondition: it does not run."""
        await self._send(wire.pack_number(wire.SIGNAL, number))

    def hurry(self) -> None:
        """Have its end known soon, whoever reads its output: it is being killed."""
        if self._fifos is not None:
            self._fifos.hurry()

    def close_input(self) -> None:
        """Let its input end, with containerd's end of it."""
        if self._fifos is not None:
            self._fifos.close_input()

    async def _send(self, frame: bytes) -> None:
        try:
            if self._connection is not None:
                return await self._connection.send(frame)
        except Disconnected:
            pass
        raise FailedPrecondition("the process does not run")

    async def _carried(self) -> int:
        while self._connection is not None or await self._again():
            assert self._connection is not None
            try:
                return await self._carry(self._connection)
            except (Disconnected, wire.WireError):
                self._connection.close()
                self._connection = None
                if not self._lasting:
                    break
        return LOST

    async def _again(self) -> bool:
        """Connect to the next daemon; return whether there is still something to connect to."""
        while True:
            try:
                self._connection = await self._daemon.open(**self._request)
            except Unavailable:
                await asyncio.sleep(_PAUSE)
            except VmsandboxError:  # The daemon does not know the container any more.
                return False
            else:
                return True

    async def _carry(self, connection: Connection) -> int:
        async with aio.background(self._carry_input(connection), "input of a process"):
            while True:
                kind, payload = await connection.receive()
                if kind == wire.EXIT:
                    return wire.number(payload)
                if kind == wire.MESSAGE:
                    self._oom = self._oom or bool(wire.message(payload).get("oom"))
                elif self._fifos is not None:
                    await self._fifos.write(kind, payload)

    async def _carry_input(self, connection: Connection) -> None:
        while not self._input_ended and self._fifos is not None:
            data = await self._fifos.read()
            self._input_ended = not data
            if data:
                await connection.send(wire.pack(wire.STDIN, data))
        if not self._paths.terminal:
            await connection.send(wire.pack(wire.STDIN))
