"""Port-forward: bytes between the host and a TCP port on the guest's localhost."""

import asyncio
import socket

from vmsandbox.protocol.framing import STREAM_CHUNK, pack
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.streams.connection import CHUNK, HostConnection

_LOCALHOST = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def connect_to_port(port: int) -> socket.socket:
    """A connection to `port` on localhost, by IPv4 or else by IPv6.

    Raises:
        AgentError: nobody listens there.
    """
    reason = OSError()
    for family, address in _LOCALHOST:
        try:
            return await _connect(family, address, port)
        except OSError as error:
            reason = error
    raise AgentError("unavailable", f"nothing in the pod answers on localhost:{port}: {reason.strerror}")


async def _connect(family: int, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def serve_port(connection: HostConnection, sock: socket.socket) -> None:
    """Carry bytes both ways, each with its end of file (an empty chunk), until the host ends the connection.

    Owns `sock`. Raises OSError when the port's side breaks.
    """
    with sock:
        answers = asyncio.create_task(_from_port(connection, sock))
        try:
            async for chunk in connection.frames(STREAM_CHUNK):
                if chunk:
                    await asyncio.get_running_loop().sock_sendall(sock, chunk)
                else:
                    sock.shutdown(socket.SHUT_WR)
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)


async def _from_port(connection: HostConnection, sock: socket.socket) -> None:
    try:
        while data := await asyncio.get_running_loop().sock_recv(sock, CHUNK):
            await connection.send(pack(data))
        await connection.send(pack(b""))
    except OSError:
        connection.shut()  # A reset port, unlike a closed one, ends the stream without an end of file.
