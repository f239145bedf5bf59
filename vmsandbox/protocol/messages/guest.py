"""Requests that make the machine the pod, and end it."""

from dataclasses import dataclass, field
from typing import ClassVar


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
class Shutdown:
    """Kill all containers, sync and power off. The connection ends instead of an answer."""

    METHOD: ClassVar[str] = "shutdown"
    RESULT: ClassVar[type] = Empty
