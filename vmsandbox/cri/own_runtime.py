"""The runtime of a process that runs a pod without the daemon, which other commands reach on a socket of its own."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vmsandbox import aio, log
from vmsandbox.config import Config
from vmsandbox.cri.interceptor import Context, Interceptor
from vmsandbox.cri.server import NodeInfo, serving
from vmsandbox.errors import FailedPrecondition, VmsandboxError
from vmsandbox.fs import make_directory
from vmsandbox.model import ContainerState
from vmsandbox.node.host import open_host
from vmsandbox.node.instance import Instance
from vmsandbox.pod.run import PodRuntime, ServiceRuntime
from vmsandbox.service import RuntimeService
from vmsandbox.streaming.server import StreamingServer

_log = log.get(__name__)

MOST_LOG = 10 * 1024 * 1024
"""Bytes of a container's log after which it is begun anew, as with a kubelet (containerLogMaxSize)."""
_LOOK_AT_LOGS = 10.0
"""Seconds, as with a kubelet (containerLogMonitorInterval)."""


@contextlib.asynccontextmanager
async def own_runtime(config: Config, instance: Instance) -> AsyncIterator[PodRuntime]:
    """A runtime in this process, whose libvirt ends with it; root reaches it at `instance.socket`.

    What a process that was killed has left in the instance's directories is given back first.

    Raises:
        VmsandboxError: see `open_host` and `serving`.
    """
    async with contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(open_host(config, instance, instance.embedded_libvirt))
        service = RuntimeService(host)
        await service.reclaim()
        _remove_logs(instance)
        make_directory(instance.logs, 0o700)
        stack.callback(_remove_logs, instance)
        await stack.enter_async_context(service.running())
        node = NodeInfo(
            handlers=config.machine_handlers,
            network_ready=host.network.ready,
            containers_directory=instance.persistent,
            config=asdict(config),
        )
        await stack.enter_async_context(_served(service, config, node, instance.socket))
        keeping = _keep_logs_short(service)
        await stack.enter_async_context(aio.attendant(keeping, "logs"))
        yield ServiceRuntime(service)


@contextlib.asynccontextmanager
async def _served(service: RuntimeService, config: Config, node: NodeInfo, path: Path) -> AsyncIterator[None]:
    """Serve the CRI and its streams: on a free port, since the configured one is the daemon's."""
    settings = replace(config.streaming, address="127.0.0.1", port=0)
    async with (
        StreamingServer(service, settings).running() as streaming,
        serving(service, path, node, streaming, OnePod(), mode=0o600, ending="`vmsandbox run` has ended"),
    ):
        yield


class OnePod(Interceptor):
    """Refuses pods and containers of other clients: they would end with this process, without its pod's knowledge."""

    def around_call(self, method: str, behaviour: Any) -> Any:
        """Refuse what makes something."""
        if method not in ("RunPodSandbox", "CreateContainer"):
            return behaviour

        async def refused(_: Any, __: Context) -> Any:
            raise FailedPrecondition(
                "this process runs one pod, and takes no others",
                hint="`vmsandbox serve` takes other pods",
            )

        return refused

    def around_stream(self, method: str, behaviour: Any) -> Any:
        """Streams make nothing."""
        return behaviour


async def _keep_logs_short(service: RuntimeService) -> None:
    while True:
        await asyncio.sleep(_LOOK_AT_LOGS)
        for container in service.list_containers():
            if container.log_path and container.state is ContainerState.RUNNING:
                await rotate(service, container.id, Path(container.log_path))


async def rotate(service: RuntimeService, container_id: str, path: Path) -> None:
    """Begin a log that has become too long anew, and keep the last one as `NAME.1`."""
    try:
        if _set_aside(path):
            await service.reopen_container_log(container_id)
    except (OSError, VmsandboxError) as error:  # E.g. the container has just ended.
        _log.info("the log %s is not begun anew: %s", path, error)


def _set_aside(path: Path) -> bool:
    """Whether the log was too long, and has another name now."""
    if path.stat().st_size <= MOST_LOG:
        return False
    path.replace(path.with_name(f"{path.name}.1"))
    return True


def _remove_logs(instance: Instance) -> None:
    shutil.rmtree(instance.logs, ignore_errors=True)
