"""The calls for statistics and metrics, which this version does not have."""

from typing import NoReturn

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.calls import Calls
from vmsandbox.cri.guard import Context
from vmsandbox.errors import Unimplemented


class StatisticsCalls(Calls):
    """Each says so, rather than to give zeros that an autoscaler or an eviction would take for the truth."""

    async def ContainerStats(self, request: api.ContainerStatsRequest, _: Context) -> api.ContainerStatsResponse:
        """Not yet."""
        _not_yet("statistics of containers")

    async def ListContainerStats(
        self, request: api.ListContainerStatsRequest, _: Context
    ) -> api.ListContainerStatsResponse:
        """Not yet."""
        _not_yet("statistics of containers")

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


def _not_yet(what: str) -> NoReturn:
    raise Unimplemented(f"this version of vmsandbox gives no {what}")
