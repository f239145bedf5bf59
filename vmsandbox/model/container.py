"""The configuration of a container."""

import enum
from dataclasses import dataclass, field

from vmsandbox.model.namespaces import IdMapping, Namespaces
from vmsandbox.model.resources import Resources
from vmsandbox.protocol.bounds import Int64, UInt32
from vmsandbox.protocol.codec import JSON


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
    """The name of the image in the request, as in `ContainerConfig`."""
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
    run_as_user: Int64 | None = None
    run_as_username: str = ""
    run_as_group: Int64 | None = None
    supplemental_groups: tuple[Int64, ...] = ()
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
    attempt: UInt32 = 0


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """CRI ContainerConfig, with its LinuxContainerConfig folded in."""

    metadata: ContainerMetadata
    image: str
    """Name, digest or id of an image that the store holds; empty with a `root`."""
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
    root: str = ""
    """A directory of the host that is the root, in place of an image; the container writes to it."""
    spec: JSON = None
    """The runtime-spec that a caller has made itself (`oci`), for the guest. The command, the user and the limits here
    only repeat what it says. A bind without a source shows the next of `mounts`. None: it is built."""

    @property
    def holds_output(self) -> bool:
        """Whether output waits in the guest for a client that reads it: a caller with a spec of its own is one."""
        return self.spec is not None
