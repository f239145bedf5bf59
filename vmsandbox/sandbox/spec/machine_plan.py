"""How one pod's machine is going to be made: decided once, before anything of it is acquired."""

from dataclasses import dataclass
from pathlib import Path

from vmsandbox.config import MOST_VCPUS
from vmsandbox.hypervisor import Accelerator, GuestImage
from vmsandbox.model import PodSandboxConfig
from vmsandbox.sandbox.spec.layout import SandboxLayout
from vmsandbox.sandbox.spec.sizing import MachineSize


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """How machines are made where the pod does not say."""

    size: MachineSize
    overhead: int
    """Bytes of memory added for the guest's kernel and agent."""
    scratch_size: int
    """Bytes of the disk that holds the writable layers."""
    boot_deadline: float
    """Seconds from the machine's start to the agent's first answer."""
    accelerator: Accelerator
    kernel_parameters: str = ""
    scratch_bandwidth: int = 0
    """Bytes a second that are read from and written to that disk; 0: no limit."""
    scratch_iops: int = 0
    """The same in operations."""
    most_vcpus: int = MOST_VCPUS
    """vCPUs that a machine may have; a pod that declares more gets this many."""


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """All that is known of a pod's machine before its users, its network and its vsock way are acquired."""

    sandbox_id: str
    config: PodSandboxConfig
    profile: MachineProfile
    """The profile of the pod's runtime handler."""
    size: MachineSize
    layout: SandboxLayout
    image: GuestImage
    file_server: Path | None
    """The virtiofsd that serves its volumes; None: the one that libvirt finds."""
