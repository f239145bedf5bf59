"""How sandboxes and containers fare."""

import enum
from dataclasses import dataclass, field

from vmsandbox.model.container import ContainerConfig
from vmsandbox.model.pod import PodSandboxConfig


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
    """vCPUs of the machine; fewer than the pod declares if `hypervisor.vcpus` limits them."""
    boots: int = 1
    """How often its machine was started until its agent answered; 2 where the guest died in its first boot."""
    kernel: str = ""
    """Release of the guest's kernel."""
    timings: BootTimings = field(default_factory=BootTimings)
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
