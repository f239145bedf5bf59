"""The client's calls on sandboxes."""

from typing import TYPE_CHECKING

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.client.base import Client, inspected
from vmsandbox.cri.codes import translated
from vmsandbox.cri.convert import sandbox_config_to_cri, sandbox_item_from_cri, sandbox_status_from_cri
from vmsandbox.model import PodSandboxConfig, SandboxStatus
from vmsandbox.protocol.codec import JSON

if TYPE_CHECKING:
    from vmsandbox.model import PortForwardRequest


class SandboxClient(Client):
    """See the package."""

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        """Make a sandbox; returns its id when it is READY."""
        request = api.RunPodSandboxRequest(config=sandbox_config_to_cri(config), runtime_handler=config.runtime_handler)
        with translated():
            return str((await self._runtime.RunPodSandbox(request)).pod_sandbox_id)

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """End a sandbox's containers and machine."""
        with translated():
            await self._runtime.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox and forget it."""
        with translated():
            await self._runtime.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        """Return the daemon's status of a sandbox (see `convert.from_cri`)."""
        with translated():
            response = await self._runtime.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id))
        return sandbox_status_from_cri(response.status)

    async def inspect_pod_sandbox(self, sandbox_id: str) -> JSON:
        """All that the daemon tells of a sandbox, as a JSON document."""
        request = api.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True)
        with translated():
            return inspected(await self._runtime.PodSandboxStatus(request), api.PodSandboxConfig)

    async def list_pod_sandboxes(self) -> tuple[SandboxStatus, ...]:
        """All sandboxes."""
        with translated():
            response = await self._runtime.ListPodSandbox(api.ListPodSandboxRequest())
        return tuple(map(sandbox_item_from_cri, response.items))

    async def port_forward_url(self, request: "PortForwardRequest") -> str:
        """The URL at which ports of a sandbox are reached."""
        wire = api.PortForwardRequest(pod_sandbox_id=request.sandbox_id, port=request.ports)
        with translated():
            return str((await self._runtime.PortForward(wire)).url)
