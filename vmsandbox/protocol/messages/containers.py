"""Requests about containers, and the event of their end."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from vmsandbox.protocol.bounds import (
    AtMost,
    Between,
    Count,
    ExitCode,
    Id,
    Matching,
    OciDocument,
    OptionalId,
    Signal,
    Text,
    UserId,
)
from vmsandbox.protocol.features import BLOCK_DEVICES, CPUSETS, DIRECTORY_ROOTS, Since
from vmsandbox.protocol.messages.guest import Empty

MAX_CONTAINERS = 256
"""Containers of a guest at most."""

MAX_GROUPS = 4096
"""Groups of a process at most."""

Groups = Annotated[tuple[UserId, ...], AtMost(MAX_GROUPS)]

CpuList = Annotated[str, Matching(r"[0-9,-]{0,8192}")]
"""Numbers of CPUs (`protocol.cpus`)."""


@dataclass(frozen=True, slots=True)
class User:
    """The user of a process; names are looked up in the container's /etc/passwd and /etc/group."""

    user: Text = ""
    """`user`, `uid`, `user:group` or `uid:gid`, as OCI image-spec `config.User`; empty is root."""
    group: Text = ""
    """A gid that replaces the user's own (CRI run_as_group)."""
    supplemental_groups: Groups = ()
    merge_image_groups: bool = True
    """Add the groups that /etc/group lists the user in (CRI SupplementalGroupsPolicy Merge)."""


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """Whom a `User` turned out to be; `gid` is among the groups."""

    uid: UserId
    gid: UserId
    groups: Groups = ()


@dataclass(frozen=True, slots=True)
class GuestDevice:
    """A device of the guest for a container."""

    path: Text
    """In the container."""
    source: Text = ""
    """In the guest: a node, or a directory of nodes below /dev; empty with a `disk`."""
    permissions: Annotated[str, Matching(r"[rwm]{0,3}")] = "rwm"
    disk: Annotated[OptionalId, Since(BLOCK_DEVICES)] = ""
    """Serial of a SCSI disk, for which the agent waits; its node has this mode and owner in the container:"""
    mode: Annotated[int, Between(0, 0o777), Since(BLOCK_DEVICES)] = 0o600
    uid: Annotated[UserId, Since(BLOCK_DEVICES)] = 0
    gid: Annotated[UserId, Since(BLOCK_DEVICES)] = 0


@dataclass(frozen=True, slots=True)
class Created:
    """The result of `CreateContainer`."""

    user: ProcessUser


POD_NAMESPACE = "pod"
"""`CreateContainer.pid_namespace` of a container that shares the pod's; no container has this id."""


GUEST = "guest"
"""The `container_id` of commands in the guest itself (`Exec` and what follows it); no container has this id."""


NO_IMAGE = "none"
"""`CreateContainer.image_serial` of a container without an image."""


@dataclass(frozen=True, slots=True)
class CreateContainer:
    """Make a container: root, bundle, `crun create`. Its process waits for `StartContainer`."""

    METHOD: ClassVar[str] = "create_container"
    RESULT: ClassVar[type] = Created

    container_id: Id
    image_serial: Id
    """The attached root image that is the lower layer; `NO_IMAGE` with a `root`."""
    spec: OciDocument
    """config.json (OCI runtime-spec); the agent fills in root.path and what `user` resolves to."""
    user: User = field(default_factory=User)
    stdin: bool = False
    tty: bool = False
    pid_namespace: OptionalId = ""
    """Whose PID namespace it joins: `POD_NAMESPACE`, or the id of a container; empty: the one in the spec."""
    devices: Annotated[tuple[GuestDevice, ...], AtMost(4096)] = ()
    all_devices: bool = False
    """Give it every device of the guest, as a privileged container has them."""
    cpus: Annotated[CpuList, Since(CPUSETS)] = ""
    """The CPUs of the host that it may use (CRI cpuset_cpus); empty: all."""
    root: Annotated[Text, Since(DIRECTORY_ROOTS)] = ""
    """The root in place of an image: a directory below the share, by its path in the guest. It is written to."""


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Let the container's process run (`crun start`)."""

    METHOD: ClassVar[str] = "start_container"
    RESULT: ClassVar[type] = Empty

    container_id: Id


@dataclass(frozen=True, slots=True)
class SignalContainer:
    """Send a signal to the container's first process, or to all of them. Succeeds when it has ended."""

    METHOD: ClassVar[str] = "signal_container"
    RESULT: ClassVar[type] = Empty

    container_id: Id
    signal: Signal
    everyone: bool = False


@dataclass(frozen=True, slots=True)
class DeleteContainer:
    """Kill what is left of a container and remove its bundle and writable layer. Succeeds where it is not."""

    METHOD: ClassVar[str] = "delete_container"
    RESULT: ClassVar[type] = Empty

    container_id: Id


@dataclass(frozen=True, slots=True)
class UpdateResources:
    """Change the limits of a running container (`crun update`, OCI runtime-spec `linux.resources`)."""

    METHOD: ClassVar[str] = "update_resources"
    RESULT: ClassVar[type] = Empty

    container_id: Id
    resources: OciDocument
    cpus: Annotated[CpuList, Since(CPUSETS)] = ""
    """The CPUs of the host that it may use from now on (`CreateContainer.cpus`)."""


@dataclass(frozen=True, slots=True)
class OciState:
    """The state of a container (OCI runtime-spec, State; as `crun state` prints it), and its exit code."""

    container_id: Id
    status: Annotated[str, Matching("created|running|stopped")]
    """`created`, `running` or `stopped`, as in crun state."""
    pid: Annotated[int, Between(0, 2**31 - 1)] = 0
    exit_code: ExitCode = 0


@dataclass(frozen=True, slots=True)
class Containers:
    """The result of `ListContainers`."""

    containers: Annotated[tuple[OciState, ...], AtMost(MAX_CONTAINERS)] = ()


@dataclass(frozen=True, slots=True)
class ListContainers:
    """Tell the containers that exist, for a host that comes back."""

    METHOD: ClassVar[str] = "list_containers"
    RESULT: ClassVar[type] = Containers


@dataclass(frozen=True, slots=True)
class Exit:
    """Event: a process ended and its output has been drained from it."""

    EVENT: ClassVar[str] = "exit"

    container_id: Id
    exit_code: ExitCode
    at: Count
    """Nanoseconds since the epoch, by the guest's clock."""
    exec_id: OptionalId = ""
    oom_killed: bool = False
