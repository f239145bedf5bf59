"""Hybrid vsock: the ports of a guest behind one Unix socket of the host, as Firecracker and vhost-device-vsock have it.

A client names the port with `CONNECT port`, and is answered `OK` and a number when the guest takes the connection.
"""

import asyncio
import socket
from pathlib import Path


async def connect(path: Path, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port of the guest behind the socket `path`. The connection is the caller's.

    Raises:
        OSError: there is no such socket, or nobody listens on that port.
        ValueError: the answer is longer than any line.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(str(path))
        # At once and in one piece: vhost-device-vsock reads the line once, and spins on a silent client that closes.
        sock.send(b"CONNECT %d\n" % port)
    except BaseException:
        sock.close()
        raise
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        answer = await reader.readline()
        if not answer.startswith(b"OK "):
            raise ConnectionResetError("nobody listens on it yet" if not answer else f"answer {answer!r}")
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer
