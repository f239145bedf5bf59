"""PodSandboxStats and ContainerStats.

usage_nano_cores is left to the kubelet, which takes the difference of two answers.
"""

from collections.abc import Sequence

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert.container import container_metadata_to_wire
from vmsandbox.cri.convert.pod import sandbox_metadata_to_wire
from vmsandbox.model import ContainerStatus, ContainerUsage, InterfaceUsage, MachineUsage, SandboxStatus, SandboxUsage


def sandbox_stats(
    status: SandboxStatus, usage: SandboxUsage, containers: Sequence[api.ContainerStats]
) -> api.PodSandboxStats:
    """What a sandbox uses: all of its machine, the share of its containers in it as their guest tells it.

    `process` is not told, since nobody counts the guest's processes.
    """
    config = status.config
    return api.PodSandboxStats(
        attributes=api.PodSandboxAttributes(
            id=status.id,
            metadata=sandbox_metadata_to_wire(config.metadata),
            labels=config.labels,
            annotations=config.annotations,
        ),
        linux=api.LinuxPodSandboxStats(
            cpu=_cpu(usage.machine),
            memory=_machine_memory(usage.machine),
            network=_network(usage.interface),
            containers=containers,
        ),
    )


def container_stats(status: ContainerStatus, usage: ContainerUsage | None) -> api.ContainerStats:
    """What a container uses; its attributes alone where it does not run."""
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
        wire.cpu.CopyFrom(_cpu(usage))
        wire.memory.CopyFrom(_memory(usage))
    return wire


def _cpu(usage: ContainerUsage | MachineUsage) -> api.CpuUsage:
    return api.CpuUsage(timestamp=usage.at, usage_core_nano_seconds=_number(usage.cpu))


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
