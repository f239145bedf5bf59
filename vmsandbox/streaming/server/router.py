"""A client's first request: its token, the version, the answer, and what serves the client from then on."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from vmsandbox.model import AttachRequest, CommandRequest, DebugRequest, ExecRequest, PortForwardRequest
from vmsandbox.streaming.io import LINGER, Wire, farewell
from vmsandbox.streaming.protocol import Handshake, Refusal, UpgradeRequest, agree_on_command, agree_on_ports
from vmsandbox.streaming.server.commands import serve_command
from vmsandbox.streaming.server.port_forward import serve_ports
from vmsandbox.streaming.server.targets import ClientProcess, Targets
from vmsandbox.streaming.server.tokens import Tokens

HEAD_TIMEOUT = 10.0
"""Seconds that a client has for its request, and before that for the handshake of TLS."""

Request = CommandRequest | PortForwardRequest

PATHS: dict[type[Request], str] = {
    ExecRequest: "exec",
    AttachRequest: "attach",
    DebugRequest: "debug",
    PortForwardRequest: "portforward",
}
"""Where in its URL a request says what it is; the token follows."""

_Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


class RequestRouter:
    """Answers the requests of clients. The connections are the caller's."""

    def __init__(self, targets: Targets, tokens: Tokens[Request], head_timeout: float, idle_timeout: float) -> None:
        """Serve `targets` to clients that have one of `tokens`. Timeouts are in seconds."""
        self._targets = targets
        self._tokens = tokens
        self._head_timeout = head_timeout
        self._idle_timeout = idle_timeout

    async def answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Callable[[], Awaitable[None]] | None:
        """Read the request and answer it; return what serves the client, or None after a refusal."""
        handshake = Handshake()
        try:
            async with asyncio.timeout(self._head_timeout):
                while (asked := handshake.receive(await reader.read(4096))) is None:
                    pass
            version, serve = self._agree(asked)
            writer.write(handshake.accept(version))
            return functools.partial(serve, reader, writer, handshake.early)
        except TimeoutError:
            refusal = Refusal(408, f"no request within {self._head_timeout:g} s")
        except Refusal as error:
            refusal = error
        await farewell(reader, writer, handshake.refuse(refusal), LINGER)
        return None

    def _agree(self, asked: UpgradeRequest) -> tuple[str, _Serve]:
        """Return the version, and what serves the request in it; the token is used up. Raises Refusal."""
        kind, _, token = asked.path.removeprefix("/").partition("/")
        request = self._tokens.look(token)
        if request is None or PATHS[type(request)] != kind:
            raise Refusal(404, "there is nothing here: a URL serves one request, and expires after a minute")
        agreed = (
            self._ports(asked, request) if isinstance(request, PortForwardRequest) else self._command(asked, request)
        )
        self._tokens.take(token)
        return agreed

    def _command(self, asked: UpgradeRequest, request: CommandRequest) -> tuple[str, _Serve]:
        version, protocol = agree_on_command(asked, request)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, early: bytes) -> None:
            wire = Wire(reader, writer, protocol, early=early, idle_timeout=self._idle_timeout)
            await serve_command(wire, self._open(request))

        return version, serve

    def _ports(self, asked: UpgradeRequest, request: PortForwardRequest) -> tuple[str, _Serve]:
        version, protocol = agree_on_ports(asked, request)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, early: bytes) -> None:
            wire = Wire(reader, writer, protocol, early=early, idle_timeout=self._idle_timeout)
            await serve_ports(wire, lambda port: self._targets.port(request.sandbox_id, port))

        return version, serve

    def _open(self, request: CommandRequest) -> AbstractAsyncContextManager[ClientProcess]:
        match request:
            case ExecRequest():
                return self._targets.exec(request)
            case AttachRequest():
                return self._targets.attach(request)
            case DebugRequest():
                return self._targets.debug(request)
