"""What all sandboxes of a process are made with."""

from dataclasses import dataclass
from pathlib import Path

from vmsandbox.guest.transports import Transports
from vmsandbox.hypervisor.base import Accelerator, GuestImage, Hypervisor
from vmsandbox.images import ImageStore
from vmsandbox.network import Network
from vmsandbox.sandbox.layout import SandboxLayout
from vmsandbox.sandbox.sizing import MachineSize
from vmsandbox.state import State


@dataclass(frozen=True, slots=True)
class MachineDefaults:
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


@dataclass(frozen=True, slots=True)
class Host:
    """The brothers below this layer, opened; the service owns them and outlives every sandbox."""

    state: State
    hypervisor: Hypervisor
    network: Network
    transports: Transports
    images: ImageStore
    guest_image: GuestImage
    machines: MachineDefaults
    runtime_directory: Path
    persistent_directory: Path
    qemu_group: int
    """The group that QEMU's processes have, which may open a sandbox's sockets."""

    def layout(self, sandbox_id: str) -> SandboxLayout:
        """The directories of a sandbox."""
        return SandboxLayout(
            self.runtime_directory / "sandboxes" / sandbox_id, self.persistent_directory / "sandboxes" / sandbox_id
        )
