"""The HTTP server that Prometheus scrapes: one request a connection, within bounds of time, size and number.

It listens where the configuration says. Everybody who can reach it may read the metrics, unless TLS asks for a
certificate.
"""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import h11

from vmsandbox import aio, log
from vmsandbox.config import MetricsConfig, TlsConfig
from vmsandbox.errors import FailedPrecondition

_log = log.get(__name__)

Render = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Returns the metrics and their content type, for the header Accept of a scrape."""

_DEADLINE = 10.0
"""Seconds for a connection, from its first byte to its last."""
_LARGEST_HEAD = 16 * 1024
_MOST_CONNECTIONS = 16
"""Connections at a time; for one more, the oldest is closed."""
_PIECE = 4096


class ScrapeServer:
    """Answers GET /metrics."""

    def __init__(self, config: MetricsConfig, render: Render) -> None:
        """Take the configuration, which has an address; `running` listens."""
        self._config = config
        self._render = render
        self._rendering = asyncio.Lock()
        self._tls: ssl.SSLContext | None = None
        self._connections = aio.Connections(self._serve, "scrape", most_strangers=_MOST_CONNECTIONS)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen while the context lasts; its end closes every connection.

        Raises:
            FailedPrecondition: the address cannot be listened on, or the certificate cannot be used.
        """
        self._tls = server_tls(self._config.tls)
        with _bound(self._config) as listening:
            server = await asyncio.start_server(self._connections.accept, sock=listening)
            async with self._connections.of(server):
                yield

    def renew_certificate(self) -> None:
        """Read the certificate, its key and the clients' authority again, for connections from now on.

        Raises:
            FailedPrecondition: they cannot be used; the old ones stay.
        """
        self._tls = server_tls(self._config.tls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_DEADLINE):
                if self._tls is not None:
                    await writer.start_tls(self._tls, ssl_handshake_timeout=_DEADLINE)
                writer.write(await self._answer(reader))
                await writer.drain()
        except (OSError, EOFError, TimeoutError) as error:  # Of which ssl.SSLError is one.
            _log.debug("a scrape has ended: %s", error)

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
        try:
            request = await _request(connection, reader)
        except h11.RemoteProtocolError as error:
            return _response(connection, error.error_status_hint, b"this is not a request of HTTP\n")
        if request.target.partition(b"?")[0] != b"/metrics":
            return _response(connection, 404, b"the metrics are at /metrics\n")
        if request.method not in (b"GET", b"HEAD"):
            return _response(connection, 405, b"GET them\n")
        accept = next((value.decode("latin-1") for name, value in request.headers if name == b"accept"), "")
        async with self._rendering:
            body, content_type = await self._render(accept)
        return _response(connection, 200, body, content_type)


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(_PIECE))
    if not isinstance(event, h11.Request):
        raise EOFError("no request came")
    return event


def _response(connection: h11.Connection, status: int, body: bytes, content_type: str = "text/plain") -> bytes:
    headers = [("content-type", content_type), ("content-length", str(len(body))), ("connection", "close")]
    head = connection.send(h11.Response(status_code=status, headers=headers)) or b""
    return head + (connection.send(h11.Data(body)) or b"") + (connection.send(h11.EndOfMessage()) or b"")


def server_tls(config: TlsConfig) -> ssl.SSLContext | None:
    """Return a context with the configured certificate; None without one. Raises FailedPrecondition."""
    if config.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.certificate, config.key)
    except OSError as error:
        said = f"{config.certificate} with the key {config.key} cannot be used: {error.strerror or error}"
        raise FailedPrecondition(said) from None
    if config.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(config.client_ca)
        except OSError as error:
            raise FailedPrecondition(f"{config.client_ca} cannot be used: {error.strerror or error}") from None
    return context


def check_certificate(config: MetricsConfig) -> None:
    """Raise FailedPrecondition where the certificate, its key or the clients' authority cannot be used."""
    server_tls(config.tls)


def check_address(config: MetricsConfig) -> None:
    """Raise FailedPrecondition where the address cannot be listened on now."""
    if config.address is not None:
        with _bound(config):
            pass


@contextlib.contextmanager
def _bound(config: MetricsConfig) -> Iterator[socket.socket]:
    assert config.address is not None
    host, _, port = config.address.rpartition(":")
    address = ipaddress.ip_address(host.strip("[]"))
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((str(address), int(port)))
            bound.listen()
        except OSError as error:
            raise FailedPrecondition(
                f"{config.address} cannot be listened on: {error.strerror}", hint=_hint(error, port)
            ) from None
        yield bound


def _hint(error: OSError, port: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program listens there: `ss -ltnp 'sport = :{port}'` says which; or choose another port"
    return "choose an address of this host" if error.errno == errno.EADDRNOTAVAIL else ""
