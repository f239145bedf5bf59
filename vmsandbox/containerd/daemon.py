"""The calls to the daemon (`vmsandbox serve`) over the socket of the OCI door."""

import asyncio
from pathlib import Path
from typing import Any

from vmsandbox.errors import Unavailable, error_of_code
from vmsandbox.oci_command import wire
from vmsandbox.oci_command.frames import Connection, Disconnected
from vmsandbox.oci_command.phrases import as_runc


class Daemon:
    """Where the daemon listens."""

    def __init__(self, path: Path) -> None:
        """Nothing is connected before the first call."""
        self.path = path

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Make a call that has one answer; a call that is cancelled is undone by the daemon. Raises as `open`."""
        connection, answer = await self._ask(name, arguments)
        connection.close()
        return answer

    async def open(self, name: str, **arguments: Any) -> Connection:
        """Make a call, and keep the connection for what follows its answer; it is the caller's to close.

        Raises:
            Unavailable: the daemon is not there, or has gone.
            VmsandboxError: what it says.
        """
        connection, _ = await self._ask(name, arguments)
        return connection

    async def _ask(self, name: str, arguments: dict[str, Any]) -> tuple[Connection, dict[str, Any]]:
        try:
            connection = Connection(*await asyncio.open_unix_connection(self.path, limit=wire.MOST))
        except OSError as error:
            raise Unavailable(
                f"vmsandbox serve does not answer at {self.path}: {error.strerror}", hint="start it"
            ) from None
        try:
            await connection.send(wire.pack_message({"version": wire.VERSION, "call": name, **arguments}))
            answer = wire.message((await connection.receive())[1])
            if "error" in answer:
                raise error_of_code(str(answer.get("code")))(as_runc(str(answer["error"])))
        except Disconnected:
            connection.close()
            raise Unavailable(f"the connection to vmsandbox serve at {self.path} is lost") from None
        except BaseException:
            connection.close()
            raise
        return connection, answer
