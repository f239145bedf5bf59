"""The calls for metrics, which the kubelet passes on at /metrics/cadvisor."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.interceptor import Context
from vmsandbox.cri.metrics import MeasuredContainer, descriptors, pod_metrics
from vmsandbox.cri.servicer.base import Servicer
from vmsandbox.model import SandboxState


class MetricServicer(Servicer):
    """The calls about metrics. A sandbox that cannot be measured is left out, and does not fail the others."""

    async def ListMetricDescriptors(
        self, request: api.ListMetricDescriptorsRequest, _: Context
    ) -> api.ListMetricDescriptorsResponse:
        """Every metric there is."""
        return api.ListMetricDescriptorsResponse(descriptors=descriptors())

    async def ListPodSandboxMetrics(
        self, request: api.ListPodSandboxMetricsRequest, _: Context
    ) -> api.ListPodSandboxMetricsResponse:
        """The values of the sandboxes that are READY, and of their containers that run."""
        ready = [each for each in self.service.list_pod_sandboxes() if each.state is SandboxState.READY]
        chosen = {each.id for each in ready}
        usages, containers = await asyncio.gather(self.service.measure_pod_sandboxes(chosen), self._measured_in(chosen))
        interfaces = {sandbox_id: usage.interface for sandbox_id, usage in usages.items()}
        metrics = (pod_metrics(each, interfaces.get(each.id), containers.get(each.id, ())) for each in ready)
        return api.ListPodSandboxMetricsResponse(pod_metrics=metrics)

    async def _measured_in(self, sandbox_ids: Collection[str]) -> Mapping[str, Sequence[MeasuredContainer]]:
        """The running containers of sandboxes, by sandbox, with what they use."""
        found: defaultdict[str, list[MeasuredContainer]] = defaultdict(list)
        measured = await self.service.measure_containers(sandbox_ids)
        for status in self.service.list_containers():
            if status.id in measured:
                found[status.sandbox_id].append(MeasuredContainer(status, measured[status.id]))
        return found
