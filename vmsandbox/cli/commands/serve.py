"""vmsandbox serve: the CRI, for kubelet and crictl."""

import asyncio
import contextlib
import grp
import os
import socket
from dataclasses import asdict

import click

from vmsandbox.cli import execution
from vmsandbox.cli.options import Global
from vmsandbox.config import Config
from vmsandbox.cri.delegation import delegating
from vmsandbox.cri.server import NodeInfo, serving
from vmsandbox.errors import FailedPrecondition
from vmsandbox.node.host import open_host
from vmsandbox.node.instance import claim_daemon
from vmsandbox.service import RuntimeService
from vmsandbox.streaming.server import StreamingServer


@click.command()
@click.pass_obj
def serve(options: Global) -> None:
    """Serve the CRI on a Unix socket, until SIGTERM or Ctrl-C.

    Machines go on running when it ends, however it ends; the next `serve` takes them back.
    """
    execution.run(_serve(options.config()))


async def _serve(config: Config) -> None:
    async with contextlib.AsyncExitStack() as stack:
        instance = stack.enter_context(claim_daemon(config.run_directory, config.state_directory))
        host = await stack.enter_async_context(open_host(config, instance, config.libvirt))
        service = RuntimeService(host)
        service.recover()
        await stack.enter_async_context(service.running())
        node = NodeInfo(
            handlers=config.machine_handlers,
            network_ready=host.network.ready,
            containers_directory=instance.persistent,
            config=asdict(config),
        )
        streaming = await stack.enter_async_context(StreamingServer(service, config.streaming).running())
        delegation = await stack.enter_async_context(delegating(config.delegate, service))
        cri = serving(service, config.socket, node, streaming, delegation, group=_group(config.socket_group))
        await stack.enter_async_context(cri)
        notify("READY=1")
        await _asked_to_end()
        notify("STOPPING=1")


async def _asked_to_end() -> None:
    """Wait for SIGTERM or Ctrl-C, which cancel the command: for a daemon that is not a failure."""
    task = asyncio.current_task()
    assert task is not None
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        task.uncancel()  # else a deadline of what is closed now would be taken for another cancellation


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid if name else -1
    except KeyError:
        raise FailedPrecondition(f"socket_group: there is no group {name}") from None


def notify(state: str) -> None:
    """Tell the service manager how the daemon fares, e.g. `READY=1` (sd_notify(3)); nothing where none listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall(state.encode())
