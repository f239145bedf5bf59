"""A transport to an agent that listens on Unix sockets of a directory, `1024.sock` and `1025.sock`."""

import asyncio
from pathlib import Path

from typing_extensions import override

from vmsandbox.errors import Unavailable
from vmsandbox.guest.transport.connection import Transport, TransportBroken
from vmsandbox.model import Vsock


class UnixTransport(Transport):
    """Can be broken for good, as a daemon that dies, by setting `broken`."""

    def __init__(self, directory: Path) -> None:
        self.device = Vsock(3)
        self.broken: TransportBroken | None = None
        self.dials = 0
        self._directory = directory

    @override
    async def ready(self) -> None:
        """The fake agent listens from the beginning."""

    @override
    async def dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.dials += 1
        if self.broken is not None:
            raise self.broken
        try:
            return await asyncio.open_unix_connection(str(self._directory / f"{port}.sock"))
        except OSError as error:
            raise Unavailable(f"port {port}: {error.strerror}") from None

    @override
    async def diagnose(self) -> TransportBroken | None:
        return self.broken
