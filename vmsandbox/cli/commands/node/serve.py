"""vmsandbox serve: the CRI, for kubelet and crictl."""

import asyncio
import contextlib
import os
import time
from dataclasses import asdict

import click

from vmsandbox import aio, log
from vmsandbox.cli import execution
from vmsandbox.cli.commands.node.reloading import Reloading
from vmsandbox.cli.commands.node.service_manager import notify
from vmsandbox.cli.options import Global, duration
from vmsandbox.config import ConfigFile
from vmsandbox.cri.delegation import delegating
from vmsandbox.cri.server import NodeInfo, serving
from vmsandbox.exporters import exporting
from vmsandbox.model import ContainerState, SandboxState
from vmsandbox.node.host import open_host
from vmsandbox.node.instance import claim_daemon
from vmsandbox.node.settings import check_host, group_number
from vmsandbox.node.summary import summary
from vmsandbox.oci import serving_oci
from vmsandbox.oci_command.wire import SOCKET
from vmsandbox.service import RuntimeService
from vmsandbox.streaming.server import StreamingServer
from vmsandbox.version import VERSION

_log = log.get("vmsandbox.daemon")

_ALIVE = (ContainerState.CREATED, ContainerState.RUNNING)


@click.command()
@click.pass_obj
def serve(options: Global) -> None:
    """Serve the CRI on a Unix socket, until SIGTERM or Ctrl-C.

    Machines go on running when it ends, however it ends; the next `serve` takes them back. SIGHUP has it read its
    configuration again.
    """
    execution.run(_serve(options, options.config_with_file()))


async def _serve(options: Global, file: ConfigFile) -> None:
    config, begin = file.config, time.monotonic()
    if os.geteuid() == 0:  # Else `open_host` says what is missing first of all.
        await check_host(file)
    async with contextlib.AsyncExitStack() as stack:
        instance = stack.enter_context(claim_daemon(config.run_directory, config.state_directory))
        host = await stack.enter_async_context(open_host(config, instance, config.libvirt))
        service = RuntimeService(host)
        service.recover()
        exporters = await stack.enter_async_context(exporting(config, service))
        await stack.enter_async_context(service.running())
        node = NodeInfo(
            handlers=config.machine_handlers,
            network_ready=host.network.ready,
            containers_directory=instance.persistent,
            config=asdict(config),
        )
        streaming = await stack.enter_async_context(StreamingServer(service, config.streaming).running())
        delegation = await stack.enter_async_context(delegating(config.delegate, service))
        cri = serving(service, config.socket, node, streaming, delegation, group=group_number(config.socket_group))
        await stack.enter_async_context(cri)
        await stack.enter_async_context(serving_oci(service, config.run_directory / SOCKET))
        reload = Reloading(
            options.config_file, config, host, service, streaming, exporters, node, options.configure_log
        )
        await stack.enter_async_context(reload.on_signal())
        known = f"pods of an earlier daemon: {len(service.list_pod_sandboxes())}"
        _log.info("vmsandbox %s serves unix://%s: %s; %s", VERSION, config.socket, await summary(config, host), known)
        await stack.enter_async_context(aio.attendant(tell_recovery(service), "pods of the earlier daemon"))
        notify("READY=1")
        await _asked_to_end()
        notify("STOPPING=1")
        ran = duration(time.monotonic() - begin)
        _log.info("vmsandbox ends after %s; machines that go on: %d", ran, service.machines_running)


async def tell_recovery(service: RuntimeService) -> None:
    """Log how the taking back of an earlier daemon's pods ends; nothing where there are none."""
    before = {sandbox.id for sandbox in service.list_pod_sandboxes()}
    if not before:
        return
    await service.recovered()
    known = [sandbox for sandbox in service.list_pod_sandboxes() if sandbox.id in before]
    ready = {sandbox.id for sandbox in known if sandbox.state is SandboxState.READY}
    running = [each for each in service.list_containers() if each.sandbox_id in ready and each.state in _ALIVE]
    counts = (len(ready), len(running), len(known) - len(ready))
    _log.info("pods of the earlier daemon that run: %d, their containers: %d; that have ended: %d", *counts)


async def _asked_to_end() -> None:
    """Wait for SIGTERM or Ctrl-C, which cancel the command: for a daemon that is not a failure."""
    task = asyncio.current_task()
    assert task is not None
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        task.uncancel()  # else a deadline of what is closed now would be taken for another cancellation
