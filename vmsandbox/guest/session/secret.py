"""Handing a machine its secret: the agent reads it once, from a virtio-serial port (docs/protocol.md, "The secret")."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from vmsandbox.errors import Unavailable


@contextlib.asynccontextmanager
async def secret_offered(secret: bytes, port: Path) -> AsyncIterator[None]:
    """Offer the secret for as long as the body runs, in which the agent is waited for.

    QEMU takes it out of the socket when the guest has opened its end, and no sooner. So the connection stays until the
    agent has answered; what was read is nowhere any more.

    Args:
        secret: of a machine that was just started.
        port: the Unix socket of QEMU's end.

    Raises:
        Unavailable: QEMU does not listen there.
    """
    try:
        _, writer = await asyncio.open_unix_connection(str(port))
    except OSError as error:
        raise Unavailable(f"QEMU does not accept the machine's secret at {port}: {error.strerror}") from None
    try:
        writer.write(secret)
        yield
    finally:
        writer.close()
