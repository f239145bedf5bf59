"""The server of the door's socket: one request for each connection."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from vmsandbox import aio, log
from vmsandbox.errors import InvalidArgument, VmsandboxError, advised, explained
from vmsandbox.oci.calls import Calls
from vmsandbox.oci.control_calls import Call
from vmsandbox.oci.orphans import end_orphans
from vmsandbox.oci.pods import Pods
from vmsandbox.oci.streams import Streams
from vmsandbox.oci_command import wire
from vmsandbox.oci_command.frames import Connection, Disconnected
from vmsandbox.service import RuntimeService

_log = log.get(__name__)

_BACKLOG = 128
_ENDING = 5.0
"""Seconds in which calls that run have undone what they did when the daemon ends."""


@contextlib.asynccontextmanager
async def serving_oci(service: RuntimeService, path: Path) -> AsyncIterator[None]:
    """Serve `vmsandbox-oci` on a Unix socket, which root alone may open, while the context lasts.

    A socket that a killed daemon left is replaced: the daemon is alone in its run directory.

    Raises:
        InvalidArgument: the path is too long for a socket.
    """
    door = _Door(service)
    connections = aio.Connections(door.serve, "a call of vmsandbox-oci")
    with _listening(path) as listening:
        server = await asyncio.start_unix_server(connections.accept, sock=listening, limit=wire.MOST)
        async with (
            aio.attendant(end_orphans(service, door.pods, door.delete), "containers without a process"),
            connections.of(server, patience=_ENDING),
        ):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # noqa: ASYNC240 - in a directory of the daemon


@contextlib.contextmanager
def _listening(path: Path) -> Any:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        try:
            listening.bind(os.fspath(path))
        except OSError as error:
            raise InvalidArgument(f"{path} cannot be a socket: {error.strerror or error}") from None
        path.chmod(0o600)  # Nobody can connect before it listens.
        listening.listen(_BACKLOG)
        yield listening


class _Door:
    """Serves connections."""

    def __init__(self, service: RuntimeService) -> None:
        self.pods = Pods(service)
        self._calls = Calls(service, self.pods)
        self.delete = self._calls.delete
        self._streams = Streams(service, self.pods)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, to its end. Containers go on when that comes with the daemon's."""
        with contextlib.suppress(Disconnected):
            await self._serve(Connection(reader, writer))

    async def _serve(self, connection: Connection) -> None:
        try:
            await self._answer(connection, _request(await connection.receive()))
        except (VmsandboxError, wire.WireError) as error:
            await connection.answer(error=advised(_told(error)), code=_told(error).code)
        except Exception as error:
            if isinstance(error, Disconnected):
                raise
            _log.exception("a call of vmsandbox-oci has failed unexpectedly")
            await connection.answer(error=str(explained(error)), code=explained(error).code)

    async def _answer(self, connection: Connection, request: Mapping[str, Any]) -> None:
        name = request.get("call")
        if carry := self._streams.by_name.get(str(name)):
            await carry(connection, request)
            # An end that sends while this one is closed may lose what it has not received: the end of the process.
            await connection.closed()
        elif call := self._calls.by_name.get(str(name)):
            await connection.answer(**await _unless_gone(connection, call, request))
        else:
            raise InvalidArgument(f"there is no call {name!r}")


async def _unless_gone(connection: Connection, call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a call; it is cancelled, and undoes what it did, when the command is killed meanwhile."""

    async def calling() -> dict[str, Any]:
        return await call(request)

    async with aio.background(calling()) as work, aio.background(connection.gone()) as gone:
        await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Disconnected
        return work.result()


def _request(frame: tuple[bytes, bytes]) -> dict[str, Any]:
    kind, payload = frame
    if kind != wire.MESSAGE:
        raise wire.WireError("the first frame is not a request")
    request = wire.message(payload)
    if request.get("version") != wire.VERSION:
        raise wire.WireError(
            f"vmsandbox-oci speaks version {request.get('version')!r} of the protocol, and the daemon "
            f"{wire.VERSION}: they are of different installations"
        )
    return request


def _told(error: VmsandboxError | wire.WireError) -> VmsandboxError:
    return error if isinstance(error, VmsandboxError) else InvalidArgument(str(error))
