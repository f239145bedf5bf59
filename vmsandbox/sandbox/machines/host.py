"""The host: the objects that all sandboxes of a process share."""

from dataclasses import dataclass, field
from pathlib import Path

from vmsandbox.claims import UserRange
from vmsandbox.config import MOST_VCPUS, LimitsConfig
from vmsandbox.errors import InvalidArgument
from vmsandbox.fairness import Fairness
from vmsandbox.fs.watching import Watcher
from vmsandbox.guest import Transports
from vmsandbox.hypervisor import Accelerator, GuestImage, Hypervisor
from vmsandbox.images import ImageStore
from vmsandbox.model import MachineSize, PodSandboxConfig
from vmsandbox.network import Network
from vmsandbox.sandbox.blocks import SHARE, BlockNodes
from vmsandbox.sandbox.files import SandboxDirectories
from vmsandbox.sandbox.machines.cgroups import MachineCgroups, charge_of
from vmsandbox.sandbox.machines.templates import Templates
from vmsandbox.sandbox.spec import MachinePlan, MachineProfile, given_size, size_rules, wanted_size
from vmsandbox.state import State


@dataclass(frozen=True, slots=True)
class Host:
    """The brothers below this layer, opened; the service owns them and outlives every sandbox."""

    state: State
    hypervisor: Hypervisor
    network: Network
    transports: Transports
    images: ImageStore
    guest_image: GuestImage
    profiles: dict[str, MachineProfile]
    """The profiles by RuntimeClass handler. The empty key is the default profile and always exists. A reload of the
    configuration changes it, for pods that are made afterwards."""
    runtime_directory: Path
    persistent_directory: Path
    users: UserRange
    """The users of the sandboxes' processes."""
    cgroups: MachineCgroups
    """Their cgroups."""
    templates: Templates
    """The templates that machines go on from."""
    run_directory: Path
    """The directory above `runtime_directory` that all processes of this node have in common."""
    stays: bool = False
    """Whether machines may wait for pods in this process: another one takes back what it leaves."""
    processors: int = MOST_VCPUS
    """The processors of this host."""
    file_server: Path | None = None
    """The virtiofsd that serves their volumes; None: the one that libvirt finds."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    """The limits of all machines together; `Admission.within` has the defaults."""
    fairness: Fairness = field(default_factory=Fairness)
    """Divides the time of the event loop among the guests."""
    watcher: Watcher = field(default_factory=Watcher)
    """Watches directories of volumes."""

    def profile(self, handler: str) -> MachineProfile:
        """How machines are made for a handler (CRI RunPodSandboxRequest.runtime_handler). Raises InvalidArgument."""
        try:
            return self.profiles[handler]
        except KeyError:
            known = ", ".join(sorted(name for name in self.profiles if name)) or "none"
            raise InvalidArgument(
                f"there is no runtime handler {handler!r}", hint=f"handlers are profiles in config.yaml: {known}"
            ) from None

    def accelerator(self, handler: str) -> Accelerator:
        """How a machine of a handler runs; one whose handler is not configured any more, as the default does."""
        return self.profiles.get(handler, self.profiles[""]).accelerator

    def charge(self, handler: str, size: MachineSize) -> int:
        """Bytes of this host's memory that a machine of a handler takes, in the budget of all (`charge_of`)."""
        return charge_of(size, self.accelerator(handler))

    def plan(self, sandbox_id: str, config: PodSandboxConfig, bound: int) -> MachinePlan:
        """Return how a pod's machine is going to be made.

        Args:
            sandbox_id: names all that is going to be acquired.
            config: of the pod; its limits are valid.
            bound: bytes that the machine may grow to, where its profile does not say.

        Raises:
            InvalidArgument: there is no such runtime handler, or the pod needs more than its profile lets a machine
                have.
        """
        profile = self.profile(config.runtime_handler)
        sizes = size_rules(
            profile.machine,
            config.resources,
            budget=bound,
            processors=self.processors,
        )
        return MachinePlan(
            sandbox_id=sandbox_id,
            config=config,
            profile=profile,
            size=given_size(sizes, wanted_size(sizes, config.resources)),
            sizes=sizes,
            layout=self.layout(sandbox_id),
            image=self.guest_image,
            file_server=self.file_server,
        )

    def device_directories(self) -> list[Path]:
        """Where all sandboxes of this node, those of other processes among them, have the nodes of block volumes."""
        return [
            path
            for pattern in ("serve/sandboxes/*/devices", "run/*/sandboxes/*/devices")
            for path in self.run_directory.glob(pattern)
        ]

    def block_nodes(self, sandbox_id: str, config: PodSandboxConfig) -> BlockNodes:
        """The nodes of a sandbox's raw block volumes."""
        directory, shared = self.layout(sandbox_id).devices, config.annotations.get(SHARE) == "true"
        return BlockNodes(
            directory,
            lambda: self.users.of(sandbox_id).qemu,
            self.device_directories,
            self.run_directory / "devices.lock",
            shared=shared,
        )

    def layout(self, sandbox_id: str) -> SandboxDirectories:
        """The directories of a sandbox."""
        return SandboxDirectories(
            self.runtime_directory / "sandboxes" / sandbox_id, self.persistent_directory / "sandboxes" / sandbox_id
        )
