"""The daemon as a runtime of pods (`pod.run.PodRuntime`): `vmsandbox run` where one serves this node."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from vmsandbox import aio
from vmsandbox.config import MACHINE_HANDLER
from vmsandbox.cri.client import CriClient
from vmsandbox.images import PullPhase, PullProgress, Report
from vmsandbox.model import (
    BootTimings,
    Image,
    Output,
    PodSandboxConfig,
    RegistryAuth,
    SandboxStatus,
)
from vmsandbox.protocol import codec
from vmsandbox.sandbox.streams import follow_log


class DaemonRuntime:
    """See `PodRuntime`. A container's output is read from its log, which the pod's configuration has to name.

    A pod is a machine also where the daemon has pods without RuntimeClass run by a delegate.
    """

    guest_tmpfs = False

    def __init__(self, client: CriClient) -> None:
        """Ask through `client`, which stays the caller's."""
        self._client = client
        self.stop_pod_sandbox = client.stop_pod_sandbox
        self.remove_pod_sandbox = client.remove_pod_sandbox
        self.create_container = client.create_container
        self.start_container = client.start_container
        self.stop_container = client.stop_container
        self.remove_container = client.remove_container
        self.container_status = client.container_status
        self.wait_container = client.wait_container
        self.exec_sync = client.exec_sync

    async def find_image(self, name: str) -> Image | None:
        """See `PodRuntime`."""
        return await self._client.images.find(name, MACHINE_HANDLER)

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        """See `PodRuntime`."""
        handler = config.runtime_handler or MACHINE_HANDLER
        return await self._client.run_pod_sandbox(replace(config, runtime_handler=handler))

    async def pull_image(self, name: str, auth: RegistryAuth | None, progress: Report) -> Image:
        """See `PodRuntime`; the CRI does not tell how far a pull is."""
        progress(PullProgress(PullPhase.DOWNLOADING))
        return await self._client.images.pull(name, auth, MACHINE_HANDLER)

    async def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        """See `PodRuntime`; with kernel and timings, which only the verbose status has."""
        status = await self._client.pod_sandbox_status(sandbox_id)
        info = (await self._client.inspect_pod_sandbox(sandbox_id))["info"]["info"]
        timings = codec.decode(BootTimings, info["bootTimings"])
        return replace(status, kernel=info["kernel"], timings=timings, message=info["message"])

    async def output(self, container_id: str) -> AsyncGenerator[Output, None]:
        """See `PodRuntime`."""
        async with aio.background(self.wait_container(container_id), f"end of {container_id}") as waiting:
            log = Path((await self.container_status(container_id)).log_path)
            async with aclosing(follow_log(log, ended=waiting.done)) as entries:
                async for entry in entries:
                    yield Output(entry.stream, entry.content + (b"\n" if entry.complete else b""))
