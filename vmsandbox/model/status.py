"""How sandboxes and containers fare."""

import enum
from dataclasses import dataclass, field

from vmsandbox.model.container import ContainerConfig
from vmsandbox.model.pod import PodSandboxConfig
from vmsandbox.model.resources import MachineSize


class SandboxState(enum.Enum):
    """CRI PodSandboxState, and before it the time in which its machine is being made."""

    STARTING = "starting"
    READY = "ready"
    NOTREADY = "notready"


class ContainerState(enum.Enum):
    """CRI ContainerState; UNKNOWN until CreateContainer has finished."""

    UNKNOWN = "unknown"
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class BootTimings:
    """Where the time of a cold start went, in seconds."""

    prepare: float = 0
    """Network, share, scratch disk and vsock made."""
    machine: float = 0
    """libvirt's create call."""
    kernel: float = 0
    """From QEMU's start to the agent's first instruction, by the guest's clock."""
    agent: float = 0
    """From the agent's first instruction to its answer to Hello."""
    configure: float = 0
    """Name, network, mounts of the guest."""


@dataclass(frozen=True, slots=True)
class StartTimings:
    """When each step of a sandbox's start was done, in seconds after it was asked for.

    None: the step was not reached, is not needed, or belongs to a version that did not measure it.
    """

    admitted: float | None = None
    """There was memory, and its turn had come."""
    network: float | None = None
    machine: float | None = None
    """libvirt had created its machine."""
    agent: float | None = None
    """The agent had answered."""
    configured: float | None = None
    """The guest was the pod, and had its size."""
    ready: float | None = None


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """CRI PodSandboxStatus, and what a person wants to know of the machine."""

    id: str
    config: PodSandboxConfig
    state: SandboxState
    created_at: int
    ips: tuple[str, ...] = ()
    memory: int = 0
    """Bytes of its machine."""
    vcpus: int = 0
    """vCPUs that its guest uses."""
    booted: MachineSize | None = None
    """The size with which its machine has booted. None: an earlier version has made it."""
    most: MachineSize | None = None
    """The size that its machine can grow to. None: an earlier version has made it, and it keeps its size."""
    boots: int = 1
    """How often its machine was started until its agent answered; 2 where the guest died in its first boot."""
    kernel: str = ""
    """Release of the guest's kernel."""
    accelerator: str = ""
    """kvm or tcg; empty: an earlier version has made the machine."""
    timings: BootTimings = field(default_factory=BootTimings)
    start: StartTimings = field(default_factory=StartTimings)
    message: str = ""
    """Why it is not ready, where it ended by itself: the report of the machine's death."""
    ending: bool = False
    """Whether its containers are asked to end, after which it is stopped: none is started any more."""


@dataclass(frozen=True, slots=True)
class ContainerUser:
    """CRI LinuxContainerUser: the user of the container's first process; numbers in its user namespace."""

    uid: int
    gid: int
    supplemental_groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerTimings:
    """How long the steps of a container's start took, in seconds; None: one was not done, or not measured."""

    created: float | None = None
    """From CreateContainer to the container in the guest."""
    started: float | None = None
    """From StartContainer to its process that runs."""


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """CRI ContainerStatus."""

    id: str
    sandbox_id: str
    config: ContainerConfig
    state: ContainerState
    created_at: int
    image_id: str
    image_ref: str
    """The digest by which a registry knows the image, else its id."""
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    """Completed, Error, OOMKilled, StartError, SandboxDied or ContainerLost."""
    message: str = ""
    log_path: str = ""
    """Absolute path of the log; empty where there is none."""
    user: ContainerUser | None = None
    """None until it is known."""
    timings: ContainerTimings = field(default_factory=ContainerTimings)


class ContainerEventKind(enum.Enum):
    """CRI ContainerEventType."""

    CREATED = "created"
    STARTED = "started"
    STOPPED = "stopped"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """CRI ContainerEventResponse; a sandbox's own events have its id as `container_id`."""

    container_id: str
    sandbox_id: str
    kind: ContainerEventKind
    at: int
