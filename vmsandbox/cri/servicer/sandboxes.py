"""The calls on sandboxes."""

import time

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import (
    refuse,
    resources_from_cri,
    sandbox_config_from_cri,
    sandbox_item_to_cri,
    sandbox_status_to_cri,
)
from vmsandbox.cri.interceptor import Context
from vmsandbox.cri.servicer import ids
from vmsandbox.cri.servicer.base import Servicer, told
from vmsandbox.cri.servicer.verbose import sandbox_info
from vmsandbox.model import PortForwardRequest, SandboxState, SandboxStatus


class SandboxServicer(Servicer):
    """RunPodSandbox and what follows it."""

    async def RunPodSandbox(self, request: api.RunPodSandboxRequest, _: Context) -> api.RunPodSandboxResponse:
        """Make a sandbox; it is READY when this returns."""
        config = sandbox_config_from_cri(request.config, request.runtime_handler)
        return api.RunPodSandboxResponse(pod_sandbox_id=await self.service.run_pod_sandbox(config))

    async def StopPodSandbox(self, request: api.StopPodSandboxRequest, _: Context) -> api.StopPodSandboxResponse:
        """End its containers and its machine; succeeds for one that is unknown or stopped."""
        await self.service.stop_pod_sandbox(self.sandbox_id(request.pod_sandbox_id))
        return api.StopPodSandboxResponse()

    async def RemovePodSandbox(self, request: api.RemovePodSandboxRequest, _: Context) -> api.RemovePodSandboxResponse:
        """Forget it and its containers; succeeds for one that is unknown."""
        await self.service.remove_pod_sandbox(self.sandbox_id(request.pod_sandbox_id))
        return api.RemovePodSandboxResponse()

    async def PodSandboxStatus(self, request: api.PodSandboxStatusRequest, _: Context) -> api.PodSandboxStatusResponse:
        """Return the status of a sandbox, and those of its containers."""
        sandbox = self.service.pod_sandbox_status(self.sandbox_id(request.pod_sandbox_id))
        return api.PodSandboxStatusResponse(
            status=sandbox_status_to_cri(sandbox),
            containers_statuses=self.statuses_in(sandbox.id),
            timestamp=time.time_ns(),
            info=await self._verbose(sandbox) if request.verbose else {},
        )

    async def _verbose(self, sandbox: SandboxStatus) -> dict[str, str]:
        return sandbox_info(sandbox, await self.service.machine_details(sandbox.id))

    async def ListPodSandbox(self, request: api.ListPodSandboxRequest, _: Context) -> api.ListPodSandboxResponse:
        """List the sandboxes that match the filter, without those that are not READY for the first time yet."""
        made = (each for each in self.service.list_pod_sandboxes() if each.state is not SandboxState.STARTING)
        items = told(sandbox_item_to_cri, made)
        return api.ListPodSandboxResponse(items=[item for item in items if _passes(request.filter, item)])

    async def PortForward(self, request: api.PortForwardRequest, _: Context) -> api.PortForwardResponse:
        """A URL at which ports of the sandbox are reached."""
        wanted = PortForwardRequest(self.sandbox_id(request.pod_sandbox_id), tuple(request.port))
        return api.PortForwardResponse(url=self.urls.portforward_url(wanted))

    async def UpdatePodSandboxResources(
        self, request: api.UpdatePodSandboxResourcesRequest, _: Context
    ) -> api.UpdatePodSandboxResourcesResponse:
        """Change what the pod declares, and its machine with it; 0 leaves a limit as it is."""
        for limits in (request.overhead, request.resources):
            refuse(limits)
        await self.service.update_pod_sandbox_resources(
            self.sandbox_id(request.pod_sandbox_id),
            resources_from_cri(request.resources),
            resources_from_cri(request.overhead),
        )
        return api.UpdatePodSandboxResourcesResponse()


def _passes(wanted: api.PodSandboxFilter, item: api.PodSandbox) -> bool:
    return (
        item.id.startswith(wanted.id)
        and (not wanted.HasField("state") or item.state == wanted.state.state)
        and ids.has_labels(wanted.label_selector, item.labels)
    )
