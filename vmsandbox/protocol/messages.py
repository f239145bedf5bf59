"""The messages of the control channel (docs/protocol.md tells their order and meaning).

The host dials `CONTROL_PORT` and sends one `Hello`; the agent answers `HelloReply`. Then requests, responses,
cancellations, events and acknowledgements travel as `Envelope`s in any order. Every request dataclass names the
dataclass of its result, so that both ends look the method up in one table, `REQUESTS`.
"""

import enum
from dataclasses import dataclass, field
from typing import ClassVar

from vmsandbox.protocol.codec import JSON

VERSION = 1
"""The protocol version spoken by this build."""

CONTROL_PORT = 1024
STREAM_PORT = 1025


class Kind(enum.Enum):
    """What an envelope is."""

    REQUEST = "request"
    RESPONSE = "response"
    ERROR = "error"
    CANCEL = "cancel"
    EVENT = "event"
    ACKNOWLEDGE = "acknowledge"
    GOODBYE = "goodbye"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every control frame after the two hellos holds."""

    kind: Kind
    id: int = 0
    """Of the request (REQUEST, RESPONSE, ERROR, CANCEL), or the number of the event (EVENT, ACKNOWLEDGE)."""
    method: str = ""
    """REQUEST: the method. EVENT: the event's name. ERROR: the code of the error tree (`not_found`, ...)."""
    body: JSON = None
    """The encoded dataclass; for ERROR and GOODBYE, the message."""
    deadline: float = 0
    """REQUEST: seconds that the host is going to wait."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Host to agent, the first frame."""

    versions: tuple[int, ...]
    build: str
    """Build id of the agent that the host's guest image was built with."""
    acknowledged: int = 0
    """The last event the host has dealt with; later ones are sent again."""


@dataclass(frozen=True, slots=True)
class HelloReply:
    """Agent to host, the answer to `Hello`; the version is the highest that both speak, 0 where there is none."""

    version: int
    build: str
    boot_id: str
    kernel: str
    uptime: float
    """Seconds since the guest's kernel started."""
    agent_started: float
    """Uptime, in seconds, at which the agent began to run."""


@dataclass(frozen=True, slots=True)
class Empty:
    """The result of a request that has nothing to tell."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the pod (CNI result `routes`): `destination` in CIDR form; an empty gateway means on-link."""

    destination: str
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface, found by its MAC address and then named."""

    name: str
    mac: str
    mtu: int = 1500
    addresses: tuple[str, ...] = ()
    """Addresses with their prefix length."""
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Dns:
    """resolv.conf(5), as CRI's DNSConfig has it."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserNamespace:
    """The one mapping of a pod's user namespace: ids from 0 on in the containers are those of the guest from there."""

    first_uid: int
    uids: int
    """How many."""
    first_gid: int
    gids: int


@dataclass(frozen=True, slots=True)
class ConfigureGuest:
    """Make the booted machine the pod: name, clock, network, sysctls, the share and the scratch disk."""

    METHOD: ClassVar[str] = "configure_guest"
    RESULT: ClassVar[type] = Empty

    hostname: str
    clock: int
    """The host's time, nanoseconds since the epoch."""
    interfaces: tuple[Interface, ...] = ()
    dns: Dns = field(default_factory=Dns)
    hosts: str = ""
    """Content of /etc/hosts for the pod's containers; empty: localhost, and the hostname by its address."""
    sysctls: dict[str, str] = field(default_factory=dict)
    share_tag: str = ""
    """Tag of the virtio-fs share of the volumes; empty: none."""
    scratch_serial: str = ""
    """Serial of the SCSI disk (ext4) that holds the writable layers; empty: a tmpfs does."""
    shm_size: int = 64 * 1024 * 1024
    """Bytes of the pod's /dev/shm, shared by its containers."""
    user_namespace: UserNamespace | None = None
    """What the pod's containers live in; None: the guest's users are theirs."""


@dataclass(frozen=True, slots=True)
class MakeTmpfs:
    """Make a tmpfs volume that containers mount from `/run/vmsandbox/tmpfs/NAME` (emptyDir, medium Memory)."""

    METHOD: ClassVar[str] = "make_tmpfs"
    RESULT: ClassVar[type] = Empty

    name: str
    size: int = 0
    """Bytes; 0, or more than the guest's memory: half of that, as tmpfs(5) has it."""
    mode: int = 0o777
    group: int = 0
    """The gid that owns it."""
    path: str = ""
    """A directory to make in it, with its parents (a subPath)."""


@dataclass(frozen=True, slots=True)
class AttachImage:
    """Mount the root image on the SCSI disk of that serial read-only at `/run/vmsandbox/images/SERIAL`."""

    METHOD: ClassVar[str] = "attach_image"
    RESULT: ClassVar[type] = Empty

    serial: str
    filesystem: str = "squashfs"


@dataclass(frozen=True, slots=True)
class DetachImage:
    """Unmount a root image and let the disk go, so that the host can unplug it. Succeeds where it is not."""

    METHOD: ClassVar[str] = "detach_image"
    RESULT: ClassVar[type] = Empty

    serial: str


@dataclass(frozen=True, slots=True)
class User:
    """Who runs a process; names are looked up in the container's own /etc/passwd and /etc/group."""

    user: str = ""
    """`user`, `uid`, `user:group` or `uid:gid`, as OCI image-spec `config.User`; empty is root."""
    group: str = ""
    """A gid that replaces the user's own (CRI run_as_group)."""
    supplemental_groups: tuple[int, ...] = ()
    merge_image_groups: bool = True
    """Add the groups that /etc/group lists the user in (CRI SupplementalGroupsPolicy Merge)."""


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """Whom a `User` turned out to be; `gid` is among the groups."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the guest for a container."""

    path: str
    """In the container."""
    source: str
    """In the guest: a node, or a directory of nodes below /dev."""
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class Created:
    """The result of `CreateContainer`."""

    user: ProcessUser


POD_NAMESPACE = "pod"
"""`CreateContainer.pid_namespace` of a container that shares the pod's; no container has this id."""


@dataclass(frozen=True, slots=True)
class CreateContainer:
    """Make a container: overlay root, bundle, `crun create`. Its process waits for `StartContainer`."""

    METHOD: ClassVar[str] = "create_container"
    RESULT: ClassVar[type] = Created

    container_id: str
    image_serial: str
    """The attached root image that is the lower layer."""
    spec: JSON
    """config.json (OCI runtime-spec); the agent fills in root.path and what `user` resolves to."""
    user: User = field(default_factory=User)
    stdin: bool = False
    tty: bool = False
    pid_namespace: str = ""
    """Whose PID namespace it joins: `POD_NAMESPACE`, or the id of a container; empty: as the spec has it."""
    devices: tuple[Device, ...] = ()
    all_devices: bool = False
    """Give it every device of the guest, as a privileged container has them."""


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Let the container's process run (`crun start`)."""

    METHOD: ClassVar[str] = "start_container"
    RESULT: ClassVar[type] = Empty

    container_id: str


@dataclass(frozen=True, slots=True)
class SignalContainer:
    """Send a signal to the container's first process, or to all of them. Succeeds when it has ended."""

    METHOD: ClassVar[str] = "signal_container"
    RESULT: ClassVar[type] = Empty

    container_id: str
    signal: int
    everyone: bool = False


@dataclass(frozen=True, slots=True)
class DeleteContainer:
    """Kill what is left of a container and remove its bundle and writable layer. Succeeds where it is not."""

    METHOD: ClassVar[str] = "delete_container"
    RESULT: ClassVar[type] = Empty

    container_id: str


@dataclass(frozen=True, slots=True)
class UpdateResources:
    """Change the limits of a running container (`crun update`, OCI runtime-spec `linux.resources`)."""

    METHOD: ClassVar[str] = "update_resources"
    RESULT: ClassVar[type] = Empty

    container_id: str
    resources: JSON


@dataclass(frozen=True, slots=True)
class Exec:
    """Start a process in a running container. Its end is an `Exit` event with `exec_id`."""

    METHOD: ClassVar[str] = "exec"
    RESULT: ClassVar[type] = Empty

    container_id: str
    exec_id: str
    process: JSON
    """The runtime-spec's `process` object; user as in `CreateContainer`."""
    user: User | None = None
    """None: as the container's own process."""
    stdin: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class SignalExec:
    """Kill the process of an exec (and its children left in its session). Succeeds when it has ended."""

    METHOD: ClassVar[str] = "signal_exec"
    RESULT: ClassVar[type] = Empty

    container_id: str
    exec_id: str
    signal: int


@dataclass(frozen=True, slots=True)
class EndExecs:
    """Kill and forget every exec, for a host that comes back and knows none of them."""

    METHOD: ClassVar[str] = "end_execs"
    RESULT: ClassVar[type] = Empty


@dataclass(frozen=True, slots=True)
class Resize:
    """Set the window size of a tty, of the container itself or (with `exec_id`) of an exec."""

    METHOD: ClassVar[str] = "resize"
    RESULT: ClassVar[type] = Empty

    container_id: str
    columns: int
    rows: int
    exec_id: str = ""


class Stream(enum.Enum):
    """The three streams of a process; with a tty there is no STDERR."""

    STDIN = "stdin"
    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class StreamToken:
    """Presented once, as the first frame on `STREAM_PORT`; void when the control connection ends."""

    token: str


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Get a token for a stream of a container, or (with `exec_id`) of an exec.

    Output begins at `offset` bytes from the stream's start: what lies before it is thereby acknowledged.
    A second opening of the same stream ends the first.
    """

    METHOD: ClassVar[str] = "open_stream"
    RESULT: ClassVar[type] = StreamToken

    container_id: str
    stream: Stream
    exec_id: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class OpenPort:
    """Get a token for a TCP connection to `port` on the guest's localhost (port-forward)."""

    METHOD: ClassVar[str] = "open_port"
    RESULT: ClassVar[type] = StreamToken

    port: int


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What the agent knows of a container."""

    container_id: str
    status: str
    """`created`, `running` or `stopped`, as crun state has it."""
    pid: int = 0
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Containers:
    """The result of `ListContainers`."""

    containers: tuple[ContainerState, ...] = ()


@dataclass(frozen=True, slots=True)
class ListContainers:
    """Tell the containers that exist, for a host that comes back."""

    METHOD: ClassVar[str] = "list_containers"
    RESULT: ClassVar[type] = Containers


@dataclass(frozen=True, slots=True)
class Measures:
    """What a container uses, by its cgroup (v2): memory in bytes, CPU time in nanoseconds."""

    container_id: str
    cpu: int
    """cpu.stat, usage_usec."""
    memory: int
    """memory.current."""
    inactive_file: int
    """Of memory.stat, as the next three."""
    anon: int
    page_faults: int
    major_page_faults: int
    memory_limit: int = 0
    """memory.max; 0: none."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of `MeasureContainers`."""

    at: int
    """Nanoseconds since the epoch, by the guest's clock."""
    containers: tuple[Measures, ...] = ()


@dataclass(frozen=True, slots=True)
class MeasureContainers:
    """Tell what the containers that exist use; one whose cgroup is gone is left out."""

    METHOD: ClassVar[str] = "measure_containers"
    RESULT: ClassVar[type] = Measured


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Kill all containers, sync and power off. The connection ends instead of an answer."""

    METHOD: ClassVar[str] = "shutdown"
    RESULT: ClassVar[type] = Empty


Request = (
    ConfigureGuest
    | MakeTmpfs
    | AttachImage
    | DetachImage
    | CreateContainer
    | StartContainer
    | SignalContainer
    | DeleteContainer
    | UpdateResources
    | Exec
    | SignalExec
    | EndExecs
    | Resize
    | OpenStream
    | OpenPort
    | ListContainers
    | MeasureContainers
    | Shutdown
)

REQUESTS: dict[str, type[Request]] = {kind.METHOD: kind for kind in Request.__args__}
"""Every method and its request."""


@dataclass(frozen=True, slots=True)
class Exit:
    """Event: a process ended and its output has been drained from it."""

    EVENT: ClassVar[str] = "exit"

    container_id: str
    exit_code: int
    """0-255; 128 + N after signal N."""
    at: int
    """Nanoseconds since the epoch, by the guest's clock."""
    exec_id: str = ""
    oom_killed: bool = False


Event = Exit
EVENTS: dict[str, type[Event]] = {Exit.EVENT: Exit}
"""Every event's name and its dataclass."""
