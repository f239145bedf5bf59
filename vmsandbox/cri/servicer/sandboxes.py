"""The calls on sandboxes."""

import json
import time
from dataclasses import asdict

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import (
    sandbox_config_from_cri,
    sandbox_config_to_cri,
    sandbox_item_to_cri,
    sandbox_status_to_cri,
)
from vmsandbox.cri.interceptor import Context
from vmsandbox.cri.servicer import ids
from vmsandbox.cri.servicer.base import Servicer, config_document, told
from vmsandbox.errors import Unimplemented
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
            info=_info(sandbox) if request.verbose else {},
        )

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
        """Not yet; the kubelet takes it as best effort and goes on."""
        sandbox = self.service.pod_sandbox_status(self.sandbox_id(request.pod_sandbox_id))
        raise Unimplemented(f"sandbox {sandbox.id}: a machine keeps the size that it was started with")


def _passes(wanted: api.PodSandboxFilter, item: api.PodSandbox) -> bool:
    return (
        item.id.startswith(wanted.id)
        and (not wanted.HasField("state") or item.state == wanted.state.state)
        and ids.has_labels(wanted.label_selector, item.labels)
    )


def _info(sandbox: SandboxStatus) -> dict[str, str]:
    """Return the additions of the verbose status, in JSON under `info`, as in containerd."""
    info = {
        "runtimeHandler": sandbox.config.runtime_handler,
        "runtimeType": "vmsandbox",
        "machine": {"vcpus": sandbox.vcpus, "memory": sandbox.memory, "boots": sandbox.boots},
        "kernel": sandbox.kernel,
        "bootTimings": asdict(sandbox.timings),
        "message": sandbox.message,
        "ending": sandbox.ending,
        "config": config_document(sandbox_config_to_cri, sandbox.config),
    }
    return {"info": json.dumps(info)}
