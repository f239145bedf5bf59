"""The streaming server: it gives out URLs, and serves each of them once.

It listens on 127.0.0.1 unless configured otherwise; the unguessable token in the URL is what gives access, so a
server that others can reach needs TLS. What a client does, or does not do, concerns its own connection alone.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from vmsandbox import log
from vmsandbox.config import StreamingConfig
from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.model import AttachRequest, ExecRequest, PortForwardRequest
from vmsandbox.streaming.agreement import agree_on_command, agree_on_ports
from vmsandbox.streaming.commands import serve_command
from vmsandbox.streaming.connections import Connections
from vmsandbox.streaming.listening import farewell, keep_alive, server_tls, url_of
from vmsandbox.streaming.ports import serve_ports
from vmsandbox.streaming.targets import Process, Targets
from vmsandbox.streaming.tokens import Tokens
from vmsandbox.streaming.upgrade import Handshake, Refusal, UpgradeRequest
from vmsandbox.streaming.wire import IDLE_TIMEOUT, LINGER, ClientGone, Wire

HEAD_TIMEOUT = 10.0
"""Seconds that a client has for its request, and before that for the handshake of TLS."""

_log = log.get(__name__)

Request = ExecRequest | AttachRequest | PortForwardRequest
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]

_PATHS: dict[type[Request], str] = {ExecRequest: "exec", AttachRequest: "attach", PortForwardRequest: "portforward"}


class StreamingServer:
    """The server of one runtime service, which is the caller's."""

    def __init__(
        self,
        targets: Targets,
        config: StreamingConfig,
        *,
        head_timeout: float = HEAD_TIMEOUT,
        idle_timeout: float = IDLE_TIMEOUT,
    ) -> None:
        """Know the configuration; `running` listens. Timeouts are in seconds."""
        self._targets = targets
        self._config = config
        self._head_timeout = head_timeout
        self._idle_timeout = idle_timeout
        self._tokens: Tokens[Request] = Tokens()
        self._tls: ssl.SSLContext | None = None
        self._base_url = ""
        self._connections = Connections(self._own)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["StreamingServer"]:
        """Listen while the context lasts; its end closes every connection.

        Raises:
            FailedPrecondition: the address cannot be listened on, or the certificate cannot be used.
        """
        config = self._config
        try:
            self._tls = server_tls(config)
            listener = await asyncio.start_server(self._connections.accept, config.address, config.port)
        except OSError as error:  # Of which ssl.SSLError is one.
            raise FailedPrecondition(
                f"the streaming server cannot listen on {config.address}, port {config.port}: {error}",
                hint="look at `streaming` in config.yaml",
            ) from None
        self._base_url = url_of(listener.sockets[0], secure=self._tls is not None)
        try:
            yield self
        finally:
            listener.close()
            await self._connections.aclose()
            await listener.wait_closed()

    def exec_url(self, request: ExecRequest) -> str:
        """The URL of a command (CRI Exec).

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
        """The URL of a container's streams (CRI Attach). Raises as `exec_url`."""
        _check_streams(request)
        self._targets.check_attach(request)
        return self._url(request)

    def portforward_url(self, request: PortForwardRequest) -> str:
        """The URL of a sandbox's ports (CRI PortForward).

        Raises:
            NotFound: there is no such sandbox.
            FailedPrecondition: it is not READY.
            InvalidArgument: a port is none.
            ResourceExhausted: too many URLs wait to be used.
        """
        for port in request.ports:
            if not 0 < port < 65536:
                raise InvalidArgument(f"{port} is not a port")
        self._targets.check_port_forward(request)
        return self._url(request)

    def _url(self, request: Request) -> str:
        return f"{self._base_url}/{_PATHS[type(request)]}/{self._tokens.give(request)}"

    async def _own(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What is done for one connection, from its first byte to its last."""
        try:
            keep_alive(writer.get_extra_info("socket"))
            if self._tls is not None:  # Before anything is waited for, in which bytes could be read.
                await writer.start_tls(self._tls, ssl_handshake_timeout=self._head_timeout)
            greeted = await self._greet(reader, writer)
            if greeted is not None:
                self._connections.welcome(asyncio.current_task())
                serve, early = greeted
                await serve(reader, writer, early)
        except (ClientGone, OSError) as error:
            _log.debug("a streaming client is gone: %s", error)
        except asyncio.CancelledError:
            _log.debug("a streaming client is sent away")

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[Serve, bytes] | None:
        """Read the request and answer it. What serves the client, and what it has sent already; None: refused."""
        handshake = Handshake()
        try:
            async with asyncio.timeout(self._head_timeout):
                while (asked := handshake.receive(await reader.read(4096))) is None:
                    pass
            version, serve = self._agree(asked)
            writer.write(handshake.accept(version))
            return serve, handshake.early
        except TimeoutError:
            refusal = Refusal(408, f"no request within {self._head_timeout:g} s")
        except Refusal as error:
            refusal = error
        await farewell(reader, writer, handshake.refuse(refusal), LINGER)
        return None

    def _agree(self, asked: UpgradeRequest) -> tuple[str, Serve]:
        """The version, and what serves the request in it. The token has then served. Raises Refusal."""
        kind, _, token = asked.path.removeprefix("/").partition("/")
        request = self._tokens.look(token)
        if request is None or _PATHS[type(request)] != kind:
            raise Refusal(404, "there is nothing here: a URL serves once, and only for a minute")
        agreed = (
            self._ports(asked, request) if isinstance(request, PortForwardRequest) else self._command(asked, request)
        )
        self._tokens.take(token)
        return agreed

    def _command(self, asked: UpgradeRequest, request: ExecRequest | AttachRequest) -> tuple[str, Serve]:
        version, machine = agree_on_command(asked, request)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, early: bytes) -> None:
            wire = Wire(reader, writer, machine, early=early, idle_timeout=self._idle_timeout)
            await serve_command(wire, self._open(request))

        return version, serve

    def _ports(self, asked: UpgradeRequest, request: PortForwardRequest) -> tuple[str, Serve]:
        version, machine = agree_on_ports(asked, request)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, early: bytes) -> None:
            wire = Wire(reader, writer, machine, early=early, idle_timeout=self._idle_timeout)
            await serve_ports(wire, lambda port: self._targets.port(request.sandbox_id, port))

        return version, serve

    def _open(self, request: ExecRequest | AttachRequest) -> AbstractAsyncContextManager[Process]:
        return self._targets.exec(request) if isinstance(request, ExecRequest) else self._targets.attach(request)


def _check_streams(request: ExecRequest | AttachRequest) -> None:
    """What the CRI's comments ask of the streams."""
    if not (request.stdin or request.stdout or request.stderr):
        raise InvalidArgument("at least one of stdin, stdout and stderr has to be asked for")
    if request.tty and request.stderr:
        raise InvalidArgument("a terminal has no stderr of its own: ask for tty or for stderr")
