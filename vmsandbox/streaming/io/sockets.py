"""What a listening socket needs around it: TLS, the URL that leads to it, keep-alive, and a close that cannot hang."""

import asyncio
import contextlib
import fcntl
import ipaddress
import socket
import ssl
import struct
import termios

from vmsandbox.config import StreamingConfig
from vmsandbox.errors import FailedPrecondition

_KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 4}
"""Seconds, and their number: a client whose host has vanished is noticed within two minutes."""


def server_tls(config: StreamingConfig) -> ssl.SSLContext | None:
    """The configured certificate; None for a server without TLS. Raises OSError where it cannot be used."""
    if config.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(config.tls_certificate, config.tls_key)
    return context


def client_tls(config: StreamingConfig) -> ssl.SSLContext | None:
    """What a client of this host needs: it trusts the server's own certificate and no other, whatever name it bears.

    Raises:
        FailedPrecondition: it cannot be read.
    """
    if config.tls_certificate is None:
        return None
    try:
        context = ssl.create_default_context(cafile=str(config.tls_certificate))
    except OSError as error:
        raise FailedPrecondition(
            f"the certificate {config.tls_certificate} of the streaming server cannot be read: {error}",
            hint="look at `streaming` in config.yaml",
        ) from None
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def url_of(listener: socket.socket, *, secure: bool) -> str:
    """Where clients of this host (the kubelet is one) reach the server: loopback where it listens everywhere."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"{'https' if secure else 'http'}://{f'[{address}]' if address.version == 6 else address}:{port}"


def keep_alive(connection: socket.socket) -> None:
    """Have the kernel find out whether the peer is still there."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def untaken(connection: socket.socket) -> int:
    """Bytes that were sent, and that the peer's kernel has not acknowledged yet (tcp(7), SIOCOUTQ)."""
    count: int = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    return count


async def farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes, patience: float) -> None:
    """Send a last answer, and wait up to `patience` seconds until the client has it: a close could cut it off."""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(patience):
            writer.write(answer)
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            while await reader.read(4096):
                pass


def close(writer: asyncio.StreamWriter) -> None:
    """Close at once; what the client has not taken in by now is thrown away.

    With TLS the client is told the end, but its answer, for which asyncio would wait half a minute, is not.
    """
    transport = writer.transport
    unsent = transport.get_write_buffer_size()
    if not transport.is_closing():
        transport.close()
    if unsent or transport.get_extra_info("ssl_object") is not None:
        transport.abort()
