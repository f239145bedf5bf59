"""How one pod's machine is going to be made: decided once, before anything of it is acquired."""

from dataclasses import dataclass
from pathlib import Path

from vmsandbox.config import MachineConfig
from vmsandbox.hypervisor import Accelerator, GuestImage
from vmsandbox.model import MachineSize, PodSandboxConfig, SizeRules
from vmsandbox.sandbox.spec.layout import SandboxLayout


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """The machines of one runtime handler: the settings, and what this host makes of them."""

    machine: MachineConfig
    accelerator: Accelerator
    """The accelerator that the settings choose here."""

    @property
    def kernel_parameters(self) -> str:
        """Return what the guest's kernel is told besides what it needs to boot."""
        return f"mitigations={self.machine.mitigations.value} {self.machine.kernel_parameters}".strip()


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """All that is known of a pod's machine before its users, its network and its vsock way are acquired."""

    sandbox_id: str
    config: PodSandboxConfig
    profile: MachineProfile
    """The profile of the pod's runtime handler."""
    size: MachineSize
    """The size that the pod needs as it is made. The machine has it before the pod is READY."""
    sizes: SizeRules
    """The rules for its size, for as long as it lives."""
    layout: SandboxLayout
    image: GuestImage
    file_server: Path | None
    """The virtiofsd that serves its volumes; None: the one that libvirt finds."""
