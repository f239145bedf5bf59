"""Requests about containers, and the event of their end."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from vmsandbox.protocol.bounds import AtMost
from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages.guest import Empty

MAX_CONTAINERS = 256
"""Of a guest."""


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

    containers: Annotated[tuple[ContainerState, ...], AtMost(MAX_CONTAINERS)] = ()


@dataclass(frozen=True, slots=True)
class ListContainers:
    """Tell the containers that exist, for a host that comes back."""

    METHOD: ClassVar[str] = "list_containers"
    RESULT: ClassVar[type] = Containers


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
