"""The usage of containers and sandboxes."""

from dataclasses import dataclass

from vmsandbox.protocol.messages import Measures


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """The usage of a container (CRI ContainerStats), measured by its guest."""

    at: int
    """Nanoseconds since the epoch, by the guest's clock."""
    measures: Measures

    @property
    def cpu(self) -> int:
        """CPU time in nanoseconds since it began."""
        return self.measures.cpu.usage

    @property
    def working_set(self) -> int:
        """Bytes of memory without file pages that have not been used of late: what the kubelet goes by in evictions."""
        memory = self.measures.memory
        return max(0, memory.current - memory.inactive_file)


@dataclass(frozen=True, slots=True)
class MachineUsage:
    """The usage of a machine: CPU time in nanoseconds since its start, memory in bytes.

    It is what the host's kernel has counted of the machine's QEMU: the guest's memory as far as it was touched and not
    given back, and QEMU's own. That of a sandbox includes the machine's helpers (virtiofsd, the vsock daemon).
    """

    at: int
    """Nanoseconds since the epoch."""
    cpu: int
    memory: int
    """All that is resident."""
    working_set: int
    """`memory` without pages of files: QEMU's program, which all machines share and the host can read again."""
    page_faults: int
    """Page faults of the host's kernel, without those of the guest's kernel."""
    major_page_faults: int


@dataclass(frozen=True, slots=True)
class InterfaceUsage:
    """The host's counters of a pod's interface since it was made (CRI NetworkInterfaceUsage)."""

    at: int
    """Nanoseconds since the epoch."""
    name: str
    """The name of the interface in the pod."""
    rx_bytes: int
    """Bytes that the pod received."""
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    """Packets; of those that came, above all what the guest did not take in time."""
    tx_bytes: int
    """Bytes that the pod sent."""
    tx_packets: int
    tx_errors: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class SandboxUsage:
    """The usage of a sandbox (CRI LinuxPodSandboxStats) without its containers, which their guest measures."""

    machine: MachineUsage
    interface: InterfaceUsage | None
    """None: the pod has no network."""
