"""Commands, ports and waiting, for the tests of the streaming server over real sockets."""

import asyncio
import random
import socket
import ssl
from types import ModuleType

import pytest

from tests.support import spdy_client
from vmsandbox.model import CommandRequest, ExecRequest
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming import client
from vmsandbox.streaming.client import Wanted
from vmsandbox.streaming.server import StreamingServer

PATTERN = random.Random(5).randbytes(3_000_000)


def exec_of(*command: str, stdin: bool = False, tty: bool = False) -> ExecRequest:
    return ExecRequest("c", command, stdin=stdin, tty=tty, stdout=True, stderr=not tty)


def wanted_of(request: CommandRequest) -> Wanted:
    return Wanted(request.stdin, request.stdout, request.stderr, request.tty)


TRANSPORTS = pytest.mark.parametrize("over", [client, spdy_client], ids=["WebSocket", "SPDY"])


async def run(
    streaming: StreamingServer,
    request: ExecRequest,
    typed: bytes | None = None,
    over: ModuleType = client,
    tls: ssl.SSLContext | None = None,
) -> tuple[bytes, bytes, int]:
    """Run a command with our client; what it printed on both streams, and its exit code."""
    trust = () if tls is None else (tls,)
    async with over.command(streaming.exec_url(request), wanted_of(request), *trust) as command:

        async def type_in() -> None:
            if typed is not None:
                for start in range(0, len(typed), 50_000):
                    await command.write(typed[start : start + 50_000])
                await command.close_stdin()

        typing = asyncio.create_task(type_in())
        printed = {Stream.STDOUT: b"", Stream.STDERR: b""}
        async for output in command.output():
            printed[output.stream] += output.data
        await typing
        return printed[Stream.STDOUT], printed[Stream.STDERR], command.exit_code


async def echo_server() -> asyncio.Server:
    """Serve a port that sends everything back in capitals, and ends after the client."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def sent_away(connection: socket.socket) -> bool:
    """Whether the server has closed a connection; what it sent before is thrown away."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
