"""The calls for statistics of containers; those of sandboxes, and metrics, this version does not have."""

from typing import NoReturn

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri import ids
from vmsandbox.cri.calls import Calls
from vmsandbox.cri.convert.usage import container_stats
from vmsandbox.cri.interceptor import Context
from vmsandbox.errors import Unimplemented
from vmsandbox.model import ContainerStatus


class StatisticsCalls(Calls):
    """What is not measured says so, rather than to give zeros that an eviction would take for the truth."""

    async def ContainerStats(self, request: api.ContainerStatsRequest, _: Context) -> api.ContainerStatsResponse:
        """What a container uses, by its cgroup in the guest."""
        status = self.service.container_status(self.container_id(request.container_id))
        measured = await self.service.measure_containers({status.sandbox_id})
        return api.ContainerStatsResponse(stats=container_stats(status, measured.get(status.id)))

    async def ListContainerStats(
        self, request: api.ListContainerStatsRequest, _: Context
    ) -> api.ListContainerStatsResponse:
        """What the running containers use that the filter lets through."""
        chosen = [status for status in self.service.list_containers() if _passes(request.filter, status)]
        measured = await self.service.measure_containers({status.sandbox_id for status in chosen})
        running = (status for status in chosen if status.id in measured)
        return api.ListContainerStatsResponse(stats=[container_stats(each, measured[each.id]) for each in running])

    async def PodSandboxStats(self, request: api.PodSandboxStatsRequest, _: Context) -> api.PodSandboxStatsResponse:
        """Not yet."""
        _not_yet("statistics of sandboxes")

    async def ListPodSandboxStats(
        self, request: api.ListPodSandboxStatsRequest, _: Context
    ) -> api.ListPodSandboxStatsResponse:
        """Not yet."""
        _not_yet("statistics of sandboxes")

    async def ListMetricDescriptors(
        self, request: api.ListMetricDescriptorsRequest, _: Context
    ) -> api.ListMetricDescriptorsResponse:
        """Not yet."""
        _not_yet("metrics")

    async def ListPodSandboxMetrics(
        self, request: api.ListPodSandboxMetricsRequest, _: Context
    ) -> api.ListPodSandboxMetricsResponse:
        """Not yet."""
        _not_yet("metrics")


def _passes(wanted: api.ContainerStatsFilter, status: ContainerStatus) -> bool:
    return (
        status.id.startswith(wanted.id)
        and status.sandbox_id.startswith(wanted.pod_sandbox_id)
        and ids.has_labels(wanted.label_selector, status.config.labels)
    )


def _not_yet(what: str) -> NoReturn:
    raise Unimplemented(f"this version of vmsandbox gives no {what}")
