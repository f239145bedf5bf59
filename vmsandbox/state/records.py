"""The records of sandboxes and containers in the state database (docs/on-disk.md).

What a sandbox acquires is named after its id: its domain, namespace, tap, directories and CID claim. So the record
that is written before the first step tells a teardown after a crash all that may exist.
"""

from dataclasses import dataclass, field

from vmsandbox.model import (
    BootTimings,
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    ContainerTimings,
    ContainerUser,
    ImageConfig,
    PodNetwork,
    PodSandboxConfig,
    Resources,
    SandboxState,
    SandboxStatus,
    SizeRules,
    StartTimings,
)


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    """A sandbox, from before its first resource is acquired until it is removed."""

    id: str
    config: PodSandboxConfig
    state: SandboxState
    created_at: int
    memory: int = 0
    """Bytes of its machine."""
    vcpus: int = 0
    """vCPUs of the machine."""
    sizes: SizeRules | None = None
    """The rules for the size of its machine. None: a version that could not resize machines has made it."""
    boots: int = 1
    """How often its machine was started until the agent answered."""
    network: PodNetwork | None = None
    kernel: str = ""
    boot_id: str = ""
    """The boot id of the guest's kernel: it shows whether the guest was restarted."""
    secret: str = field(default="", repr=False)
    """The machine's secret in hexadecimal digits; empty if a version before secrets has started it."""
    timings: BootTimings = field(default_factory=BootTimings)
    message: str = ""
    accelerator: str = ""
    """How its machine runs: kvm or tcg. Empty: an earlier version has made it."""
    start: StartTimings = field(default_factory=StartTimings)

    def status(self) -> SandboxStatus:
        """The status for the CRI."""
        addresses = self.network.interface.addresses if self.network else ()
        return SandboxStatus(
            id=self.id,
            config=self.config,
            state=self.state,
            created_at=self.created_at,
            ips=tuple(address.partition("/")[0] for address in addresses),
            memory=self.memory,
            vcpus=self.vcpus,
            booted=self.sizes.booted if self.sizes is not None else None,
            most=self.sizes.bound if self.sizes is not None else None,
            boots=self.boots,
            kernel=self.kernel,
            accelerator=self.accelerator,
            timings=self.timings,
            start=self.start,
            message=self.message,
        )


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """A container, from before it is made in the guest until it is removed."""

    id: str
    sandbox_id: str
    config: ContainerConfig
    image_id: str
    image_ref: str
    image_config: ImageConfig
    created_at: int
    log_path: str
    disks: dict[str, str] = field(default_factory=dict)
    """The image disks that it uses: serials by image ids."""
    blocks: tuple[str, ...] = ()
    """The serials of its raw block volumes, which are the names of their nodes in the sandbox's directory."""
    state: ContainerState = ContainerState.UNKNOWN
    started_at: int = 0
    updating: Resources | None = None
    """The limits that are being given to it: an update that was interrupted is taken back by the next process."""
    finished_at: int = 0
    """Not 0 when the process has ended, though the container is EXITED only when its output is in the log."""
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    user: ContainerUser | None = None
    timings: ContainerTimings = field(default_factory=ContainerTimings)

    def status(self) -> ContainerStatus:
        """Return the status for the CRI; it says how the container ended only after the end."""
        ended = self.state is ContainerState.EXITED
        return ContainerStatus(
            id=self.id,
            sandbox_id=self.sandbox_id,
            config=self.config,
            state=self.state,
            created_at=self.created_at,
            image_id=self.image_id,
            image_ref=self.image_ref,
            started_at=self.started_at,
            finished_at=self.finished_at if ended else 0,
            exit_code=self.exit_code if ended else 0,
            reason=self.reason if ended else "",
            message=self.message,
            log_path=self.log_path,
            user=self.user,
            timings=self.timings,
        )
