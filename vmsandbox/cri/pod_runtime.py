"""The daemon as a runtime of pods (`pod.run.PodRuntime`): `vmsandbox run` where one serves this node."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from typing_extensions import override

from vmsandbox import aio
from vmsandbox.config import MACHINE_HANDLER
from vmsandbox.cri.client import CriClient
from vmsandbox.images import PullPhase, PullProgress, Report
from vmsandbox.model import (
    AttachRequest,
    BootTimings,
    ContainerConfig,
    ContainerStatus,
    ExecResult,
    Image,
    Output,
    PodSandboxConfig,
    RegistryAuth,
    SandboxStatus,
)
from vmsandbox.pod.run import ContainerStreams, PodRuntime
from vmsandbox.protocol import codec
from vmsandbox.sandbox.streams import follow_log
from vmsandbox.streaming.client import Wanted, command


class DaemonRuntime(PodRuntime):
    """The daemon. A container's output is read from its log, which the pod's configuration has to name.

    A pod is a machine also where the daemon has pods without RuntimeClass run by a delegate.
    """

    guest_tmpfs = False

    def __init__(self, client: CriClient, tls: ssl.SSLContext | None = None) -> None:
        """Ask through `client`, which stays the caller's; `tls` is for the daemon's streaming server."""
        self._client = client
        self._tls = tls

    @override
    async def find_image(self, name: str) -> Image | None:
        return await self._client.images.find(name, MACHINE_HANDLER)

    @override
    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        handler = config.runtime_handler or MACHINE_HANDLER
        return await self._client.run_pod_sandbox(replace(config, runtime_handler=handler))

    @override
    async def pull_image(self, name: str, auth: RegistryAuth | None, progress: Report) -> Image:
        """Pull an image; the CRI does not tell how far a pull is."""
        progress(PullProgress(PullPhase.DOWNLOADING))
        return await self._client.images.pull(name, auth, MACHINE_HANDLER)

    @override
    async def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        """Return the status of a sandbox, with kernel and timings, which only the verbose status has."""
        status = await self._client.pod_sandbox_status(sandbox_id)
        info = (await self._client.inspect_pod_sandbox(sandbox_id))["info"]["info"]
        timings = codec.decode(BootTimings, info["bootTimings"])
        ending = bool(info.get("ending"))  # An older daemon does not tell it.
        return replace(status, kernel=info["kernel"], timings=timings, message=info["message"], ending=ending)

    @override
    async def output(self, container_id: str) -> AsyncGenerator[Output, None]:
        async with aio.background(self.wait_container(container_id), f"end of {container_id}") as waiting:
            log = Path((await self.container_status(container_id)).log_path)
            async with aclosing(follow_log(log, ended=waiting.done)) as entries:
                async for entry in entries:
                    yield Output(entry.stream, entry.content + (b"\n" if entry.complete else b""))

    @override
    @asynccontextmanager
    async def attach(self, container_id: str, *, tty: bool) -> AsyncIterator[ContainerStreams]:
        request = AttachRequest(container_id, tty=tty, stdin=True, stdout=True, stderr=not tty)
        wanted = Wanted(stdin=True, stdout=True, stderr=not tty, tty=tty)
        async with command(await self._client.attach_url(request), wanted, self._tls) as streams:
            yield streams

    @override
    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        await self._client.stop_pod_sandbox(sandbox_id)

    @override
    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        await self._client.remove_pod_sandbox(sandbox_id)

    @override
    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        return await self._client.create_container(sandbox_id, config)

    @override
    async def start_container(self, container_id: str) -> None:
        await self._client.start_container(container_id)

    @override
    async def stop_container(self, container_id: str, timeout: float) -> None:
        await self._client.stop_container(container_id, timeout)

    @override
    async def remove_container(self, container_id: str) -> None:
        await self._client.remove_container(container_id)

    @override
    async def container_status(self, container_id: str) -> ContainerStatus:
        return await self._client.container_status(container_id)

    @override
    async def wait_container(self, container_id: str) -> ContainerStatus:
        return await self._client.wait_container(container_id)

    @override
    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        return await self._client.exec_sync(container_id, command, timeout)
