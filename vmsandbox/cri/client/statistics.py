"""The client's calls for what containers use."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.client.base import Client
from vmsandbox.cri.codes import translated
from vmsandbox.errors import Unimplemented


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of what a container uses. None: it was not measured."""

    container_id: str
    at: int
    """Nanoseconds since the epoch."""
    cpu: int | None
    """Nanoseconds of all CPUs since the container's start."""
    memory: int | None
    """Bytes of the working set."""
    memory_limit: int | None
    """Bytes; None also where there is no limit."""
    received: int | None
    """Bytes that came to the pod; the network is the pod's."""
    sent: int | None
    read: int | None
    """Bytes read from disks."""
    written: int | None
    processes: int | None


class StatisticsClient(Client):
    """See the package."""

    async def readings(self) -> tuple[Reading, ...]:
        """Read what all running containers use now.

        CPU time comes from the statistics, which have nanoseconds, everything else from the metrics. A runtime without
        metrics (containerd before 2) tells CPU and memory alone.
        """
        stats, metrics = await asyncio.gather(self._stats(), self._metrics())
        return tuple(_reading(each, metrics.get(each.attributes.id, {})) for each in stats)

    async def _stats(self) -> Iterable[api.ContainerStats]:
        with translated():
            response = await self._runtime.ListContainerStats(api.ListContainerStatsRequest())
        return tuple(response.stats)

    async def _metrics(self) -> dict[str, Mapping[str, int]]:
        """Return the metrics of each container, with those of its pod, each summed up over devices and interfaces."""
        try:
            with translated():
                answer = await self._runtime.ListPodSandboxMetrics(api.ListPodSandboxMetricsRequest())
        except Unimplemented:
            return {}
        return {
            container.container_id: _sums([*pod.metrics, *container.metrics])
            for pod in answer.pod_metrics
            for container in pod.container_metrics
        }


def _sums(metrics: Iterable[api.Metric]) -> dict[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    for metric in metrics:
        found[metric.name] += metric.value.value
    return dict(found)


def _reading(stats: api.ContainerStats, metrics: Mapping[str, int]) -> Reading:
    return Reading(
        container_id=stats.attributes.id,
        at=stats.cpu.timestamp,
        cpu=stats.cpu.usage_core_nano_seconds.value if stats.cpu.HasField("usage_core_nano_seconds") else None,
        memory=stats.memory.working_set_bytes.value if stats.memory.HasField("working_set_bytes") else None,
        memory_limit=metrics.get("container_spec_memory_limit_bytes") or None,
        received=metrics.get("container_network_receive_bytes_total"),
        sent=metrics.get("container_network_transmit_bytes_total"),
        read=metrics.get("container_fs_reads_bytes_total"),
        written=metrics.get("container_fs_writes_bytes_total"),
        processes=metrics.get("container_processes"),
    )
