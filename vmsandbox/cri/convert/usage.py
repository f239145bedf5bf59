"""ContainerStats."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert.container import container_metadata_to_wire
from vmsandbox.model import ContainerStatus, ContainerUsage


def container_stats(status: ContainerStatus, usage: ContainerUsage | None) -> api.ContainerStats:
    """What a container uses; its attributes alone where it does not run.

    usage_nano_cores is left to the kubelet, which takes the difference of two answers.
    """
    config = status.config
    wire = api.ContainerStats(
        attributes=api.ContainerAttributes(
            id=status.id,
            metadata=container_metadata_to_wire(config.metadata),
            labels=config.labels,
            annotations=config.annotations,
        )
    )
    if usage is not None:
        wire.cpu.CopyFrom(api.CpuUsage(timestamp=usage.at, usage_core_nano_seconds=_number(usage.cpu)))
        wire.memory.CopyFrom(_memory(usage))
    return wire


def _memory(usage: ContainerUsage) -> api.MemoryUsage:
    available = max(0, usage.memory_limit - usage.working_set)
    return api.MemoryUsage(
        timestamp=usage.at,
        working_set_bytes=_number(usage.working_set),
        available_bytes=_number(available) if usage.memory_limit else None,
        usage_bytes=_number(usage.memory),
        rss_bytes=_number(usage.rss),
        page_faults=_number(usage.page_faults),
        major_page_faults=_number(usage.major_page_faults),
    )


def _number(value: int) -> api.UInt64Value:
    return api.UInt64Value(value=value)
