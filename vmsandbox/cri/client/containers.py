"""The client's calls on containers."""

import json
from typing import TYPE_CHECKING

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.client.base import Client, inspected
from vmsandbox.cri.codes import translated
from vmsandbox.cri.convert import (
    container_config_to_cri,
    container_item_from_cri,
    container_status_from_cri,
    resources_to_cri,
)
from vmsandbox.model import ContainerConfig, ContainerStatus, Resources
from vmsandbox.protocol.codec import JSON

if TYPE_CHECKING:
    from vmsandbox.model import AttachRequest, ExecRequest, ExecResult


class ContainerClient(Client):
    """See the package."""

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        """Make a container; returns its id."""
        request = api.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=container_config_to_cri(config))
        with translated():
            return str((await self._runtime.CreateContainer(request)).container_id)

    async def start_container(self, container_id: str) -> None:
        """Let a container run."""
        with translated():
            await self._runtime.StartContainer(api.StartContainerRequest(container_id=container_id))

    async def stop_container(self, container_id: str, timeout: float) -> None:
        """Ask a container to end, and kill it after `timeout` seconds."""
        request = api.StopContainerRequest(container_id=container_id, timeout=round(timeout))
        with translated():
            await self._runtime.StopContainer(request)

    async def remove_container(self, container_id: str) -> None:
        """End a container if it runs, and forget it."""
        with translated():
            await self._runtime.RemoveContainer(api.RemoveContainerRequest(container_id=container_id))

    async def container_status(self, container_id: str) -> ContainerStatus:
        """Return the daemon's status of a container (see `convert.from_cri`)."""
        request = api.ContainerStatusRequest(container_id=container_id, verbose=True)
        with translated():
            response = await self._runtime.ContainerStatus(request)
        info = json.loads(response.info.get("info", "{}"))
        return container_status_from_cri(response.status, str(info.get("sandboxID", "")))

    async def inspect_container(self, container_id: str) -> JSON:
        """All that the daemon tells of a container, as a JSON document."""
        request = api.ContainerStatusRequest(container_id=container_id, verbose=True)
        with translated():
            return inspected(await self._runtime.ContainerStatus(request), api.ContainerConfig)

    async def list_containers(self) -> tuple[ContainerStatus, ...]:
        """All containers."""
        with translated():
            response = await self._runtime.ListContainers(api.ListContainersRequest())
        return tuple(map(container_item_from_cri, response.containers))

    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> "ExecResult":
        """Run a command in a container to its end; `timeout` in seconds, 0 for none."""
        request = api.ExecSyncRequest(container_id=container_id, cmd=command, timeout=round(timeout))
        with translated():
            response = await self._runtime.ExecSync(request)
        from vmsandbox.model import ExecResult  # with the messages of streams, which listing does without

        return ExecResult(response.stdout, response.stderr, response.exit_code)

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        """Change those of a container's limits that are set."""
        request = api.UpdateContainerResourcesRequest(container_id=container_id, linux=resources_to_cri(resources))
        with translated():
            await self._runtime.UpdateContainerResources(request)

    async def reopen_container_log(self, container_id: str) -> None:
        """Go on in a new log file."""
        with translated():
            await self._runtime.ReopenContainerLog(api.ReopenContainerLogRequest(container_id=container_id))

    async def exec_url(self, request: "ExecRequest") -> str:
        """The URL at which a command's streams are."""
        wire = api.ExecRequest(
            container_id=request.container_id,
            cmd=request.command,
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        with translated():
            return str((await self._runtime.Exec(wire)).url)

    async def attach_url(self, request: "AttachRequest") -> str:
        """The URL at which a container's own streams are."""
        wire = api.AttachRequest(
            container_id=request.container_id,
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        with translated():
            return str((await self._runtime.Attach(wire)).url)
