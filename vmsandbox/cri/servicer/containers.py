"""The calls on containers."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import (
    container_config_from_cri,
    container_item_to_cri,
    refuse,
    resources_from_cri,
)
from vmsandbox.cri.interceptor import Context
from vmsandbox.cri.servicer import ids
from vmsandbox.cri.servicer.base import Servicer, told
from vmsandbox.cri.servicer.verbose import container_info
from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import AttachRequest, ExecRequest


class ContainerServicer(Servicer):
    """CreateContainer and what follows it."""

    async def CreateContainer(self, request: api.CreateContainerRequest, _: Context) -> api.CreateContainerResponse:
        """Make a container; `sandbox_config` repeats what RunPodSandbox was given, and is not looked at."""
        config = container_config_from_cri(request.config)
        container_id = await self.service.create_container(self.sandbox_id(request.pod_sandbox_id), config)
        return api.CreateContainerResponse(container_id=container_id)

    async def StartContainer(self, request: api.StartContainerRequest, _: Context) -> api.StartContainerResponse:
        """Let it run."""
        await self.service.start_container(self.container_id(request.container_id))
        return api.StartContainerResponse()

    async def StopContainer(self, request: api.StopContainerRequest, _: Context) -> api.StopContainerResponse:
        """Ask it to end, and kill it after the timeout; succeeds for one that is unknown or has ended."""
        await self.service.stop_container(self.container_id(request.container_id), max(0, request.timeout))
        return api.StopContainerResponse()

    async def RemoveContainer(self, request: api.RemoveContainerRequest, _: Context) -> api.RemoveContainerResponse:
        """End it if it runs, and forget it; succeeds for one that is unknown."""
        await self.service.remove_container(self.container_id(request.container_id))
        return api.RemoveContainerResponse()

    async def ListContainers(self, request: api.ListContainersRequest, _: Context) -> api.ListContainersResponse:
        """List the containers that match the filter."""
        found = told(container_item_to_cri, self.service.list_containers())
        return api.ListContainersResponse(containers=[item for item in found if _passes(request.filter, item)])

    async def ContainerStatus(self, request: api.ContainerStatusRequest, _: Context) -> api.ContainerStatusResponse:
        """Return the status of a container."""
        container = self.service.container_status(self.container_id(request.container_id))
        return api.ContainerStatusResponse(
            status=self.container_to_cri(container), info=container_info(container) if request.verbose else {}
        )

    async def UpdateContainerResources(
        self, request: api.UpdateContainerResourcesRequest, _: Context
    ) -> api.UpdateContainerResourcesResponse:
        """Change the limits that are set in the request; 0 leaves one as it is. Annotations have no meaning here."""
        if request.HasField("windows"):
            raise Unimplemented("a sandbox runs Linux")
        refuse(request.linux)
        container = self.service.container_status(self.container_id(request.container_id))
        await self.service.update_container_resources(container.id, resources_from_cri(request.linux))
        return api.UpdateContainerResourcesResponse()

    async def ReopenContainerLog(
        self, request: api.ReopenContainerLogRequest, _: Context
    ) -> api.ReopenContainerLogResponse:
        """Go on in a new log file."""
        await self.service.reopen_container_log(self.container_id(request.container_id))
        return api.ReopenContainerLogResponse()

    async def ExecSync(self, request: api.ExecSyncRequest, _: Context) -> api.ExecSyncResponse:
        """Run a command to its end."""
        if request.timeout < 0:
            raise InvalidArgument("the timeout is negative")
        container_id = self.container_id(request.container_id)
        result = await self.service.exec_sync(container_id, tuple(request.cmd), request.timeout)
        return api.ExecSyncResponse(stdout=result.stdout, stderr=result.stderr, exit_code=result.exit_code)

    async def Exec(self, request: api.ExecRequest, _: Context) -> api.ExecResponse:
        """A URL at which a command runs."""
        wanted = ExecRequest(
            self.container_id(request.container_id),
            tuple(request.cmd),
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        return api.ExecResponse(url=self.urls.exec_url(wanted))

    async def Attach(self, request: api.AttachRequest, _: Context) -> api.AttachResponse:
        """A URL at which the container's own streams are."""
        wanted = AttachRequest(
            self.container_id(request.container_id),
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        return api.AttachResponse(url=self.urls.attach_url(wanted))

    async def CheckpointContainer(
        self, request: api.CheckpointContainerRequest, _: Context
    ) -> api.CheckpointContainerResponse:
        """Not in this version."""
        container = self.service.container_status(self.container_id(request.container_id))
        raise Unimplemented(f"container {container.id}: containers in a machine cannot be checkpointed")


def _passes(wanted: api.ContainerFilter, item: api.Container) -> bool:
    return (
        item.id.startswith(wanted.id)
        and item.pod_sandbox_id.startswith(wanted.pod_sandbox_id)
        and (not wanted.HasField("state") or item.state == wanted.state.state)
        and ids.has_labels(wanted.label_selector, item.labels)
    )
