"""What the layers between the CRI's protobuf, libvirt's XML and the agent's frames speak: frozen dataclasses.

Names and meanings are those of CRI v1 (runtime.v1 api.proto), whose message is named in each docstring. Times are
nanoseconds since the epoch, 0 where the moment has not come; sizes are bytes.
"""

import enum
from dataclasses import dataclass, field
from pathlib import Path

from vmsandbox.protocol.messages import Dns, Stream


@dataclass(frozen=True, slots=True)
class PodSandboxMetadata:
    """CRI PodSandboxMetadata: the four together name a sandbox."""

    name: str
    uid: str
    namespace: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class PortMapping:
    """CRI PortMapping: a port of the host that leads to one of the pod."""

    container_port: int
    host_port: int
    protocol: str = "tcp"
    host_ip: str = ""


class NamespaceMode(enum.Enum):
    """CRI NamespaceMode. The pod is the guest: NODE means the guest's root namespace."""

    POD = "pod"
    CONTAINER = "container"
    NODE = "node"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class IdMapping:
    """CRI IDMapping: `length` ids from `container_id` on are those from `host_id` on; here the guest is the host."""

    host_id: int
    container_id: int
    length: int


@dataclass(frozen=True, slots=True)
class UserNamespace:
    """CRI UserNamespace: NODE is none of its own, POD is one for the pod with these mappings."""

    mode: NamespaceMode = NamespaceMode.POD
    uids: tuple[IdMapping, ...] = ()
    gids: tuple[IdMapping, ...] = ()


@dataclass(frozen=True, slots=True)
class Namespaces:
    """CRI NamespaceOption."""

    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""
    """Of the container whose PID namespace is shared, where `pid` is TARGET."""
    user: UserNamespace | None = None
    """Of the sandbox; None, like NODE: its users are the guest's own."""


@dataclass(frozen=True, slots=True)
class Resources:
    """CRI LinuxContainerResources; 0 means not set."""

    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit: int = 0
    memory_swap_limit: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    unified: dict[str, str] = field(default_factory=dict)
    hugepage_limits: dict[str, int] = field(default_factory=dict)
    """Bytes by page size (`2MB`); a guest has no huge pages, so only 0 is possible."""


@dataclass(frozen=True, slots=True)
class PodSandboxConfig:
    """CRI PodSandboxConfig, with its LinuxPodSandboxConfig folded in."""

    metadata: PodSandboxMetadata
    hostname: str = ""
    log_directory: str = ""
    dns: Dns | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    sysctls: dict[str, str] = field(default_factory=dict)
    namespaces: Namespaces = field(default_factory=Namespaces)
    privileged: bool = False
    resources: Resources = field(default_factory=Resources)
    """What the pod's containers may use together (CRI `resources`); the machine is sized for it."""
    overhead: Resources = field(default_factory=Resources)
    runtime_handler: str = ""
    """Of RunPodSandboxRequest: the profile in config.yaml that shapes the machine; empty is the default one."""


class PropagationMode(enum.Enum):
    """CRI MountPropagation."""

    PRIVATE = "rprivate"
    HOST_TO_CONTAINER = "rslave"
    BIDIRECTIONAL = "rshared"


@dataclass(frozen=True, slots=True)
class Mount:
    """CRI Mount: exactly one of `host_path`, `image` and `tmpfs` says what is mounted."""

    container_path: str
    host_path: str = ""
    image: str = ""
    """An image whose root is mounted read-only (CRI image volume)."""
    user_specified_image: str = ""
    """As in `ContainerConfig`."""
    image_sub_path: str = ""
    tmpfs: str = ""
    """Name of a tmpfs that lives in the guest, shared by the pod's containers (emptyDir, medium Memory)."""
    tmpfs_size: int = 0
    readonly: bool = False
    recursive_read_only: bool = False
    propagation: PropagationMode = PropagationMode.PRIVATE
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """CRI Device: a device node of the guest that the container may use, e.g. /dev/fuse."""

    container_path: str
    host_path: str
    permissions: str = "rwm"


class SupplementalGroupsPolicy(enum.Enum):
    """CRI SupplementalGroupsPolicy: MERGE adds the groups that the image's /etc/group lists the user in."""

    MERGE = "merge"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class SecurityProfile:
    """CRI SecurityProfile: `kind` is runtime_default, unconfined or localhost; `path` belongs to the last."""

    kind: str = "unconfined"
    path: str = ""


@dataclass(frozen=True, slots=True)
class ContainerSecurity:
    """CRI LinuxContainerSecurityContext."""

    privileged: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    add_ambient_capabilities: tuple[str, ...] = ()
    namespaces: Namespaces = field(default_factory=Namespaces)
    run_as_user: int | None = None
    run_as_username: str = ""
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: SupplementalGroupsPolicy = SupplementalGroupsPolicy.MERGE
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    seccomp: SecurityProfile = field(default_factory=SecurityProfile)
    apparmor: SecurityProfile = field(default_factory=SecurityProfile)


@dataclass(frozen=True, slots=True)
class ContainerMetadata:
    """CRI ContainerMetadata: unique within its sandbox."""

    name: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """CRI ContainerConfig, with its LinuxContainerConfig folded in."""

    metadata: ContainerMetadata
    image: str
    """Name, digest or id of an image that the store holds."""
    user_specified_image: str = ""
    """The name that the pod's author gave, where `image` is an id; told in the status, used for nothing."""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    envs: dict[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    cdi_devices: tuple[str, ...] = ()
    """Names of the Container Device Interface; refused, since they are devices of the host."""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    log_path: str = ""
    """Relative to the sandbox's `log_directory`; empty: the output is not logged."""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = field(default_factory=Resources)
    security: ContainerSecurity = field(default_factory=ContainerSecurity)
    stop_signal: str = ""


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
class Vsock:
    """How a machine's vsock device is backed.

    `socket` is the vhost-user socket of a vhost-device-vsock process; None: the host kernel's vhost_vsock.
    """

    cid: int
    socket: Path | None = None


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The part of an image's configuration that running it needs (OCI image-spec, `config`)."""

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """CRI Image."""

    id: str
    """Digest of the image's configuration, with `sha256:`."""
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    size: int = 0
    """Bytes of disk that the image's blobs and its root image occupy."""
    pinned: bool = False
    config: ImageConfig = field(default_factory=ImageConfig)


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    """CRI AuthConfig: credentials of one pull. They never reach a command line or a log."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    auth: str = field(default="", repr=False)
    """base64 of `username:password`."""
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


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
    kernel: str = ""
    """Release of the guest's kernel."""
    timings: BootTimings = field(default_factory=BootTimings)
    message: str = ""
    """Why it is not ready, where it ended by itself: the report of the machine's death."""


@dataclass(frozen=True, slots=True)
class ContainerUser:
    """CRI LinuxContainerUser: who the container's first process is, numbers in the container's user namespace."""

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
    """Completed, Error, OOMKilled, ContainerCannotRun or SandboxDied."""
    message: str = ""
    log_path: str = ""
    """Absolute path of the log; empty where there is none."""
    user: ContainerUser | None = None
    """None until it is known."""


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of a container's output, as it was read."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class ExecResult:
    """CRI ExecSyncResponse."""

    stdout: bytes
    stderr: bytes
    exit_code: int


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """CRI ExecRequest: a command whose streams a client takes over at a URL."""

    container_id: str
    command: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """CRI AttachRequest: the streams of a container's own process, at a URL."""

    container_id: str
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


@dataclass(frozen=True, slots=True)
class PortForwardRequest:
    """CRI PortForwardRequest: TCP ports of a sandbox, at a URL. A client of SPDY names the ports itself."""

    sandbox_id: str
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """What a container uses (CRI ContainerStats): CPU time in nanoseconds since it began, memory in bytes."""

    at: int
    """Nanoseconds since the epoch."""
    cpu: int
    memory: int
    """All that is charged to it, file pages that could be dropped among it."""
    working_set: int
    """`memory` without file pages that have not been used of late."""
    rss: int
    """Anonymous memory."""
    page_faults: int
    major_page_faults: int
    memory_limit: int = 0
    """0: none of its own."""


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


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `vmsandbox check`."""

    ok: bool
    message: str
    hint: str = ""
    """What to do where it is not ok."""
