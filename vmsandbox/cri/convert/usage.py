"""PodSandboxStats and ContainerStats.

usage_nano_cores is left to the kubelet, which takes the difference of two answers.
"""

from collections.abc import Sequence
from pathlib import Path

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert.container import container_metadata_to_cri
from vmsandbox.cri.convert.pod import sandbox_metadata_to_cri
from vmsandbox.model import ContainerStatus, ContainerUsage, InterfaceUsage, MachineUsage, SandboxStatus, SandboxUsage
from vmsandbox.protocol.messages import LayerMeasures


def sandbox_stats_to_cri(
    status: SandboxStatus, usage: SandboxUsage, containers: Sequence[api.ContainerStats]
) -> api.PodSandboxStats:
    """Convert the usage of a sandbox: that of its whole machine, and the guest's figures for its containers.

    `process` is not told, since nobody counts the guest's processes.
    """
    config = status.config
    return api.PodSandboxStats(
        attributes=api.PodSandboxAttributes(
            id=status.id,
            metadata=sandbox_metadata_to_cri(config.metadata),
            labels=config.labels,
            annotations=config.annotations,
        ),
        linux=api.LinuxPodSandboxStats(
            cpu=_cpu(usage.machine),
            memory=_machine_memory(usage.machine),
            network=_network(usage.interface) if usage.interface is not None else None,
            containers=containers,
        ),
    )


def container_stats_to_cri(status: ContainerStatus, usage: ContainerUsage | None, layers: Path) -> api.ContainerStats:
    """Convert the usage of a container; a container that does not run has only attributes.

    `layers` is the mount point of the host's file system that the scratch disks are on, which hold the writable layers.
    """
    config = status.config
    wire = api.ContainerStats(
        attributes=api.ContainerAttributes(
            id=status.id,
            metadata=container_metadata_to_cri(config.metadata),
            labels=config.labels,
            annotations=config.annotations,
        )
    )
    if usage is not None:
        wire.cpu.CopyFrom(_cpu(usage))
        if cpu := _pressure(usage, "cpu"):
            wire.cpu.psi.CopyFrom(cpu)
        wire.memory.CopyFrom(_memory(usage))
        wire.swap.CopyFrom(_swap(usage))
        if io := _pressure(usage, "io"):
            wire.io.CopyFrom(api.IoUsage(timestamp=usage.at, psi=io))
        if usage.measures.layer is not None:
            wire.writable_layer.CopyFrom(_layer(usage.measures.layer, layers))
    return wire


def _cpu(usage: ContainerUsage | MachineUsage) -> api.CpuUsage:
    return api.CpuUsage(timestamp=usage.at, usage_core_nano_seconds=_number(usage.cpu))


def _memory(usage: ContainerUsage) -> api.MemoryUsage:
    memory = usage.measures.memory
    available = None if memory.limit is None else max(0, memory.limit - usage.working_set)
    return api.MemoryUsage(
        timestamp=usage.at,
        working_set_bytes=_number(usage.working_set),
        available_bytes=None if available is None else _number(available),
        usage_bytes=_number(memory.current),
        rss_bytes=_number(memory.anon),
        page_faults=_number(memory.page_faults),
        major_page_faults=_number(memory.major_page_faults),
        psi=_pressure(usage, "memory"),
    )


def _pressure(usage: ContainerUsage, resource: str) -> api.PsiStats | None:
    """Convert the pressure on a resource (the CRI's averages are percent); None if it was not measured."""
    if (told := usage.measures.pressure.get(resource)) is None:
        return None
    return api.PsiStats(Some=_waits(told.some, told.some_averages), Full=_waits(told.full, told.full_averages))


def _waits(total: int, averages: tuple[float, ...]) -> api.PsiData:
    means = zip(("Avg10", "Avg60", "Avg300"), averages, strict=False)
    return api.PsiData(Total=total, **dict(means))


def _swap(usage: ContainerUsage) -> api.SwapUsage:
    """A guest has no swap, whatever a container is allowed: none is available."""
    used = usage.measures.memory.swap or 0
    return api.SwapUsage(timestamp=usage.at, swap_available_bytes=_number(0), swap_usage_bytes=_number(used))


def _layer(layer: LayerMeasures, layers: Path) -> api.FilesystemUsage:
    return api.FilesystemUsage(
        timestamp=layer.at,
        fs_id=api.FilesystemIdentifier(mountpoint=str(layers)),
        used_bytes=_number(layer.used),
        inodes_used=_number(layer.inodes),
    )


def _machine_memory(usage: MachineUsage) -> api.MemoryUsage:
    """Without available_bytes: the host sets QEMU no limit."""
    return api.MemoryUsage(
        timestamp=usage.at,
        working_set_bytes=_number(usage.working_set),
        usage_bytes=_number(usage.memory),
        rss_bytes=_number(usage.working_set),
        page_faults=_number(usage.page_faults),
        major_page_faults=_number(usage.major_page_faults),
    )


def _network(usage: InterfaceUsage) -> api.NetworkUsage:
    interface = api.NetworkInterfaceUsage(
        name=usage.name,
        rx_bytes=_number(usage.rx_bytes),
        rx_errors=_number(usage.rx_errors),
        tx_bytes=_number(usage.tx_bytes),
        tx_errors=_number(usage.tx_errors),
    )
    return api.NetworkUsage(timestamp=usage.at, default_interface=interface)


def _number(value: int) -> api.UInt64Value:
    return api.UInt64Value(value=value)
