"""vmsandbox serve: the CRI, for kubelet and crictl."""

import asyncio
import contextlib
import grp
from dataclasses import asdict

import click

from vmsandbox.cli import execution
from vmsandbox.cli.options import Global
from vmsandbox.config import Config
from vmsandbox.cri.calls import Node
from vmsandbox.cri.delegation.router import delegating
from vmsandbox.cri.notify import notify
from vmsandbox.cri.server import serving
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
        await service.recover()
        await stack.enter_async_context(service.running())
        node = Node(
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
        with contextlib.suppress(asyncio.CancelledError):  # SIGTERM is how a daemon ends, and no failure
            await asyncio.get_running_loop().create_future()
        notify("STOPPING=1")


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid if name else -1
    except KeyError:
        raise FailedPrecondition(f"socket_group: there is no group {name}") from None
