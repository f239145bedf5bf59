"""The localhost of a pod's network namespace on the host, whose ports are those of the machine.

containerd and CRI-O forward a port by connecting to localhost in that namespace. What connects there is redirected to a
socket of the daemon, which connects to the same port in the machine.
"""

import asyncio
import contextlib
import functools
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vmsandbox import aio, log
from vmsandbox.errors import VmsandboxError
from vmsandbox.guest import PortStream
from vmsandbox.oci.membership import membership
from vmsandbox.process import NETWORK, enter, run
from vmsandbox.service import RuntimeService

_log = log.get(__name__)

_PORT = 1
"""Where the daemon listens in the namespace. Nobody else does: processes of the pod are in the machine."""

_RULES = f"""
add table ip vmsandbox
delete table ip vmsandbox
table ip vmsandbox {{
  chain output {{
    type nat hook output priority -100
    ip daddr 127.0.0.0/8 tcp dport != {_PORT} redirect to :{_PORT}
  }}
}}
"""
_ORIGINAL_DESTINATION = 80
"""SO_ORIGINAL_DST of linux/netfilter_ipv4.h."""
_ADDRESS = struct.Struct("!2xH12x")
_PIECE = 64 * 1024
_BACKLOG = 128


class Localhosts:
    """Serves the namespaces of pods; the service is the caller's."""

    def __init__(self, service: RuntimeService) -> None:
        """Serve none yet."""
        self._service = service
        self._containers: Counter[str] = Counter()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def serving(self, container_id: str) -> AsyncIterator[None]:
        """Serve the namespace of a container's pod, while the context of one of its containers lasts.

        A container without a pod has no caller that looks there. Raises NotFound: there is no such container.
        """
        container = self._service.container_status(container_id)
        found = membership(container.config.metadata.name, container.config.annotations)
        path = self._service.pod_sandbox_status(container.sandbox_id).config.network_namespace
        if not path or not (found.pod or found.is_sandbox):
            yield
            return
        sandbox = container.sandbox_id
        self._containers[sandbox] += 1
        if sandbox not in self._tasks or self._tasks[sandbox].done():
            self._tasks[sandbox] = asyncio.create_task(self._serve(sandbox, Path(path)))
        try:
            yield
        finally:
            self._containers[sandbox] -= 1
            if not self._containers[sandbox]:
                del self._containers[sandbox]
                await aio.cancel(self._tasks.pop(sandbox))

    async def _serve(self, sandbox: str, path: Path) -> None:
        try:
            listening = await _listening(path)
            await run(["nsenter", f"--net={path}", "nft", "-f", "-"], stdin=_RULES.encode())
        except (VmsandboxError, OSError) as error:
            _log.warning("ports of sandbox %s are not on the localhost of %s: %s", sandbox, path, error)
            return
        connections = aio.Connections(functools.partial(self._forward, sandbox), "a forwarded connection")
        async with connections.of(await asyncio.start_server(connections.accept, sock=listening)):
            await asyncio.Event().wait()

    async def _forward(self, sandbox: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection; where the machine refuses it, it is reset."""
        try:
            async with self._service.port(sandbox, _port_of(writer)) as stream:
                await aio.together(_send(reader, stream), _receive(stream, writer))
        except (VmsandboxError, OSError) as error:
            _log.debug("a forwarded connection of sandbox %s: %s", sandbox, error)
            _reset(writer)


def _port_of(writer: asyncio.StreamWriter) -> int:
    """Return the port that the client has asked for."""
    asked = writer.get_extra_info("socket").getsockopt(socket.SOL_IP, _ORIGINAL_DESTINATION, _ADDRESS.size)
    port: int = _ADDRESS.unpack(asked)[0]
    return port


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _send(reader: asyncio.StreamReader, stream: PortStream) -> None:
    while data := await reader.read(_PIECE):
        await stream.write(data)
    await stream.close_write()


async def _receive(stream: PortStream, writer: asyncio.StreamWriter) -> None:
    while data := await stream.read():
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def _listening(path: Path) -> socket.socket:
    """Return a socket that listens in a network namespace. Raises OSError."""

    def listen() -> socket.socket:
        enter(path, NETWORK)
        return socket.create_server(("127.0.0.1", _PORT), backlog=_BACKLOG)

    with ThreadPoolExecutor(max_workers=1) as thread:  # It is in the namespace from then on, and ends.
        return await asyncio.get_running_loop().run_in_executor(thread, listen)
