"""The calls for statistics of sandboxes and containers, and for metrics (the kubelet's /metrics/cadvisor)."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import container_stats_to_cri, sandbox_stats_to_cri
from vmsandbox.cri.interceptor import Context
from vmsandbox.cri.metrics import MeasuredContainer, descriptors, pod_metrics
from vmsandbox.cri.servicer import filesystem, ids
from vmsandbox.cri.servicer.base import Servicer
from vmsandbox.model import ContainerStatus, SandboxState, SandboxStatus


class StatisticsServicer(Servicer):
    """The calls about statistics. A value that was not measured is absent: a zero could cause an eviction."""

    async def ContainerStats(self, request: api.ContainerStatsRequest, _: Context) -> api.ContainerStatsResponse:
        """Return the usage of a container, from its cgroup in the guest."""
        status = self.service.container_status(self.container_id(request.container_id))
        measured = await self.service.measure_containers({status.sandbox_id})
        return api.ContainerStatsResponse(stats=container_stats_to_cri(status, measured.get(status.id), self._layers))

    async def ListContainerStats(
        self, request: api.ListContainerStatsRequest, _: Context
    ) -> api.ListContainerStatsResponse:
        """Return the usage of the running containers that match the filter."""
        chosen = [status for status in self.service.list_containers() if _passes(request.filter, status)]
        return api.ListContainerStatsResponse(stats=(stats for _, stats in await self._measured(chosen)))

    async def PodSandboxStats(self, request: api.PodSandboxStatsRequest, _: Context) -> api.PodSandboxStatsResponse:
        """Return the usage of a sandbox, from its machine's process and tap, and that of its running containers."""
        status = self.service.pod_sandbox_status(self.sandbox_id(request.pod_sandbox_id))
        usage = await self.service.measure_pod_sandbox(status.id)
        containers = await self._containers_of({status.id})
        return api.PodSandboxStatsResponse(stats=sandbox_stats_to_cri(status, usage, containers.get(status.id, ())))

    async def ListPodSandboxStats(
        self, request: api.ListPodSandboxStatsRequest, _: Context
    ) -> api.ListPodSandboxStatsResponse:
        """Return the usage of the READY sandboxes that match the filter."""
        every = self.service.list_pod_sandboxes()
        chosen = {status.id: status for status in every if _lets_through(request.filter, status)}
        usages = await self.service.measure_pod_sandboxes(chosen.keys())
        containers = await self._containers_of(usages.keys())
        stats = (sandbox_stats_to_cri(chosen[each], usage, containers.get(each, ())) for each, usage in usages.items())
        return api.ListPodSandboxStatsResponse(stats=stats)

    @property
    def _layers(self) -> Path:
        """The mount point of the file system that the writable layers take from."""
        return filesystem.mount_point(self.node.containers_directory)

    async def _containers_of(self, sandbox_ids: Collection[str]) -> Mapping[str, Sequence[api.ContainerStats]]:
        """Return the usage of the running containers of sandboxes, by sandbox."""
        found: defaultdict[str, list[api.ContainerStats]] = defaultdict(list)
        chosen = [status for status in self.service.list_containers() if status.sandbox_id in sandbox_ids]
        for status, stats in await self._measured(chosen):
            found[status.sandbox_id].append(stats)
        return found

    async def _measured(self, chosen: Sequence[ContainerStatus]) -> list[tuple[ContainerStatus, api.ContainerStats]]:
        """Return the usage of those containers that run and whose guests answer."""
        measured = await self.service.measure_containers({status.sandbox_id for status in chosen})
        layers = self._layers
        return [
            (each, container_stats_to_cri(each, measured[each.id], layers)) for each in chosen if each.id in measured
        ]


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


def _lets_through(wanted: api.PodSandboxStatsFilter, status: SandboxStatus) -> bool:
    return status.id.startswith(wanted.id) and ids.has_labels(wanted.label_selector, status.config.labels)


def _passes(wanted: api.ContainerStatsFilter, status: ContainerStatus) -> bool:
    return (
        status.id.startswith(wanted.id)
        and status.sandbox_id.startswith(wanted.pod_sandbox_id)
        and ids.has_labels(wanted.label_selector, status.config.labels)
    )
