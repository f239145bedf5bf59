"""The streaming server: it gives out URLs, and serves each of them once.

It listens on 127.0.0.1 unless configured otherwise; the unguessable token in the URL is what gives access, so a
server that others can reach needs TLS. What a client does, or does not do, concerns its own connection alone.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator

from vmsandbox import aio, log
from vmsandbox.config import StreamingConfig
from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.model import AttachRequest, CommandRequest, DebugRequest, ExecRequest, PortForwardRequest
from vmsandbox.streaming.io import IDLE_TIMEOUT, ClientGone, close, keep_alive
from vmsandbox.streaming.server.router import HEAD_TIMEOUT, PATHS, Request, RequestRouter
from vmsandbox.streaming.server.targets import Targets
from vmsandbox.streaming.server.tokens import Tokens

_log = log.get(__name__)

MOST_STRANGERS = 128
"""Connections that have made no valid request yet; for one more, the oldest is closed."""


class StreamingServer:
    """The server of one runtime service, which is the caller's."""

    def __init__(
        self,
        targets: Targets,
        config: StreamingConfig,
        *,
        head_timeout: float = HEAD_TIMEOUT,
        idle_timeout: float = IDLE_TIMEOUT,
        most_strangers: int = MOST_STRANGERS,
    ) -> None:
        """Take the configuration; `running` listens. Timeouts are in seconds."""
        self._targets = targets
        self._config = config
        self._head_timeout = head_timeout
        self._tokens: Tokens[Request] = Tokens()
        self._router = RequestRouter(targets, self._tokens, head_timeout, idle_timeout)
        self._tls: ssl.SSLContext | None = None
        self._base_url = ""
        self._connections = aio.Connections(self._own, "streaming client", most_strangers=most_strangers, close=close)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["StreamingServer"]:
        """Listen while the context lasts; its end closes every connection.

        Raises:
            FailedPrecondition: the address cannot be listened on, or the certificate cannot be used.
        """
        config = self._config
        try:
            self._tls = _server_tls(config)
            listener = await asyncio.start_server(self._connections.accept, config.address, config.port)
        except OSError as error:  # Of which ssl.SSLError is one.
            raise FailedPrecondition(
                f"the streaming server cannot listen on {config.address}, port {config.port}: {error}",
                hint="look at `streaming` in config.yaml",
            ) from None
        self._base_url = _url_of(listener.sockets[0], secure=self._tls is not None)
        async with self._connections.of(listener):
            yield self

    def renew_certificate(self) -> None:
        """Read the certificate and its key again, for connections from now on. Nothing happens without TLS.

        Raises:
            FailedPrecondition: they cannot be used; the old ones stay.
        """
        if self._tls is None:
            return
        try:
            _server_tls(self._config)
            _load_certificate(self._tls, self._config)
        except OSError as error:
            raise FailedPrecondition(f"the certificate of the streaming server cannot be used: {error}") from None

    def exec_url(self, request: ExecRequest) -> str:
        """Return the URL of a command (CRI Exec).

        Raises:
            NotFound: there is no such container.
            FailedPrecondition: it does not run.
            InvalidArgument: no command, no stream, or a terminal with stderr was asked for.
            ResourceExhausted: too many URLs wait to be used.
        """
        _check_streams(request)
        if not request.command:
            raise InvalidArgument("no command was given")
        self._targets.check_exec(request)
        return self._url(request)

    def attach_url(self, request: AttachRequest) -> str:
        """Return the URL of a container's streams (CRI Attach). Raises as `exec_url`."""
        _check_streams(request)
        self._targets.check_attach(request)
        return self._url(request)

    def debug_url(self, request: DebugRequest) -> str:
        """Return the URL of a command in the guest of a sandbox itself.

        Raises:
            NotFound: there is no such sandbox.
            FailedPrecondition: it is not READY, or no commands are allowed there.
            InvalidArgument: no stream, or a terminal with stderr was asked for.
            ResourceExhausted: too many URLs wait to be used.
        """
        _check_streams(request)
        self._targets.check_debug(request)
        return self._url(request)

    def portforward_url(self, request: PortForwardRequest) -> str:
        """Return the URL of a sandbox's ports (CRI PortForward).

        Raises:
            NotFound: there is no such sandbox.
            FailedPrecondition: it is not READY.
            InvalidArgument: a port is not between 1 and 65535.
            ResourceExhausted: too many URLs wait to be used.
        """
        for port in request.ports:
            if not 0 < port < 65536:
                raise InvalidArgument(f"{port} is not a port")
        self._targets.check_port_forward(request)
        return self._url(request)

    def _url(self, request: Request) -> str:
        return f"{self._base_url}/{PATHS[type(request)]}/{self._tokens.give(request)}"

    async def _own(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection from its first byte to its last."""
        try:
            keep_alive(writer.get_extra_info("socket"))
            if self._tls is not None:  # Before anything is waited for, in which bytes could be read.
                await writer.start_tls(self._tls, ssl_handshake_timeout=self._head_timeout)
            serve = await self._router.answer(reader, writer)
            if serve is not None:
                self._connections.welcome(asyncio.current_task())
                await serve()
        except (ClientGone, OSError) as error:
            _log.debug("a streaming client is gone: %s", error)
        except asyncio.CancelledError:
            _log.debug("a streaming client is sent away")


def _check_streams(request: CommandRequest) -> None:
    """Raise InvalidArgument for a combination of streams that the CRI forbids."""
    if not (request.stdin or request.stdout or request.stderr):
        raise InvalidArgument("at least one of stdin, stdout and stderr has to be asked for")
    if request.tty and request.stderr:
        raise InvalidArgument("a terminal has no separate stderr: ask for tty or for stderr, not both")


def _server_tls(config: StreamingConfig) -> ssl.SSLContext | None:
    """Return a context with the configured certificate; None without one. Raises OSError for an unusable one."""
    if config.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load_certificate(context, config)
    return context


def _load_certificate(context: ssl.SSLContext, config: StreamingConfig) -> None:
    """Use the configured certificate for connections from now on. Raises OSError for an unusable one."""
    assert config.tls_certificate is not None
    context.load_cert_chain(config.tls_certificate, config.tls_key)


def _url_of(listener: socket.socket, *, secure: bool) -> str:
    """Return the URL for clients of this host, such as the kubelet; loopback if the server listens everywhere."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"{'https' if secure else 'http'}://{f'[{address}]' if address.version == 6 else address}:{port}"
