"""vmsandbox port-forward: ports of a pod on this host."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from vmsandbox import aio
from vmsandbox.cli import terminal
from vmsandbox.cli.commands.daemon import ask, find_pod
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.options import Global
from vmsandbox.errors import FailedPrecondition, VmsandboxError
from vmsandbox.model import PortForwardRequest
from vmsandbox.streaming.client import PortConnection, PortForwardClient, client_tls, port_forward

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient

_CHUNK = 16 * 1024


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A port of this host that leads to one of the pod; local 0 is any free one."""

    local: int
    remote: int


def parse(text: str) -> Forwarding:
    """The forwarding of PORT, LOCAL:REMOTE or :REMOTE. Raises click.BadParameter."""
    local, colon, remote = text.rpartition(":")
    try:
        forwarding = Forwarding(int(local or 0) if colon else int(remote), int(remote))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a port: write PORT, LOCAL:REMOTE or :REMOTE") from None
    if not (0 <= forwarding.local < 65536 and 0 < forwarding.remote < 65536):
        raise click.BadParameter(f"{text!r}: a port is a number from 1 to 65535")
    return forwarding


@click.command("port-forward")
@click.argument("pod", shell_complete=completing("pod"))
@click.argument("ports", nargs=-1, required=True, type=parse, metavar="[LOCAL:]REMOTE...")
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.pass_obj
def port_forward_(options: Global, pod: str, ports: tuple[Forwarding, ...], address: str) -> None:
    """Forward ports of this host to ports of a pod.

    \b
    8080      port 8080 here leads to port 8080 of the pod
    8080:80   port 8080 here leads to port 80 of the pod
    :80       a free port here, which is printed, leads to port 80 of the pod

    Servers that listen only on the pod's localhost are reached, too. Ctrl-C ends the forwarding.
    """

    async def work(client: "CriClient") -> None:
        sandbox = await find_pod(client, pod)
        request = PortForwardRequest(sandbox.id, tuple(port.remote for port in ports))
        tls = client_tls(options.config("warning").streaming)
        async with contextlib.AsyncExitStack() as stack:
            forward = await stack.enter_async_context(port_forward(await client.port_forward_url(request), tls))
            for port in ports:
                await _listen(stack, address, port, forward)
            await forward.lost()

    ask(options, work)


async def _listen(stack: contextlib.AsyncExitStack, address: str, port: Forwarding, forward: PortForwardClient) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with forward.connect(port.remote) as connection:
                await _join(reader, writer, connection)
        except VmsandboxError as error:
            terminal.warning(error.report())
        except OSError as error:
            terminal.warning(f"port {port.remote}: {error}")

    connections = aio.Connections(serve, f"a client of port {port.local}")
    try:
        server = await asyncio.start_server(connections.accept, address, port.local)
    except OSError as error:
        raise FailedPrecondition(
            f"cannot listen on {address}:{port.local}: {error.strerror}", hint="choose another port: LOCAL:REMOTE"
        ) from None
    await stack.enter_async_context(connections.of(server))
    terminal.note(f"{address}:{server.sockets[0].getsockname()[1]} leads to port {port.remote} of the pod")


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: PortConnection) -> None:
    """Both ways, each to its own end."""

    async def to_pod() -> None:
        await _copy(lambda: reader.read(_CHUNK), connection.write)
        await connection.close_write()

    async def from_pod() -> None:
        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        await _copy(connection.read, write)
        if writer.can_write_eof():
            writer.write_eof()

    await aio.together(to_pod(), from_pod())


async def _copy(read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]) -> None:
    while data := await read():
        await write(data)
