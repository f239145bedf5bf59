"""A listening socket: its TLS, the URL that leads to it, and the connections that it has accepted."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Coroutine

from vmsandbox import aio
from vmsandbox.config import StreamingConfig
from vmsandbox.streaming.io import close

MAX_STRANGERS = 128
"""Connections that have made no valid request yet; for one more, the oldest is closed."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


def server_tls(config: StreamingConfig) -> ssl.SSLContext | None:
    """Return a context with the configured certificate; None without one. Raises OSError for an unusable one."""
    if config.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_certificate(context, config)
    return context


def load_certificate(context: ssl.SSLContext, config: StreamingConfig) -> None:
    """Use the configured certificate for connections from now on. Raises OSError for an unusable one."""
    assert config.tls_certificate is not None
    context.load_cert_chain(config.tls_certificate, config.tls_key)


def url_of(listener: socket.socket, *, secure: bool) -> str:
    """Return the URL for clients of this host, such as the kubelet; loopback if the server listens everywhere."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"{'https' if secure else 'http'}://{f'[{address}]' if address.version == 6 else address}:{port}"


class Connections:
    """The connections that were accepted and have not ended. Each is a stranger's until `welcome`."""

    def __init__(self, serve: Serve) -> None:
        """Run `serve` for each connection; it does not close it."""
        self._serve = serve
        self._all: set[asyncio.Task[None]] = set()
        self._strangers: dict[asyncio.Task[None], None] = {}

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection in (`asyncio.start_server` calls this). It is closed also when its task never began."""

        def ended(task: asyncio.Task[None]) -> None:
            self._all.discard(task)
            self._strangers.pop(task, None)
            close(writer)

        task = asyncio.create_task(self._serve(reader, writer), name="streaming client")
        task.add_done_callback(ended)
        task.add_done_callback(aio.report)
        self._all.add(task)
        self._strangers[task] = None
        if len(self._strangers) > MAX_STRANGERS:
            self._push_out(next(iter(self._strangers)))

    def welcome(self, task: "asyncio.Task[None] | None") -> None:
        """Take note that the connection of this task has made a valid request."""
        if task is not None:
            self._strangers.pop(task, None)

    async def aclose(self) -> None:
        """Close all."""
        await aio.cancel(*self._all)

    def _push_out(self, oldest: "asyncio.Task[None]") -> None:
        del self._strangers[oldest]  # Now: others may come before it has ended.
        oldest.cancel()
