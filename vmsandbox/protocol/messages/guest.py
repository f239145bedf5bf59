"""Requests that make the machine the pod, and end it."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from vmsandbox.protocol import cpus
from vmsandbox.protocol.bounds import (
    AtMost,
    Between,
    Count,
    Difference,
    Id,
    LongText,
    Matching,
    OptionalId,
    Text,
    UserId,
)
from vmsandbox.protocol.features import CARD_FOR_ANY_POD, GUEST_COMMANDS, WARMING_UP, Since
from vmsandbox.protocol.messages.network import Dns, Interface, Mac

_Several = AtMost(1024)
_Users = Annotated[int, Between(0, 2**32)]
"""How many users, or groups."""


@dataclass(frozen=True, slots=True)
class Empty:
    """The result of a request that has nothing to tell."""


@dataclass(frozen=True, slots=True)
class UserNamespaceMapping:
    """The one mapping of a pod's user namespace: ids from 0 on in the containers are those of the guest from there."""

    first_uid: UserId
    uids: _Users
    """How many."""
    first_gid: UserId
    gids: _Users


@dataclass(frozen=True, slots=True)
class ConfigureGuest:
    """Make the booted machine the pod: name, clock, network, sysctls, the share and the scratch disk."""

    METHOD: ClassVar[str] = "configure_guest"
    RESULT: ClassVar[type] = Empty

    hostname: Text
    clock: Count
    """The host's time, nanoseconds since the epoch."""
    interfaces: Annotated[tuple[Interface, ...], _Several] = ()
    dns: Dns = field(default_factory=Dns)
    hosts: LongText = ""
    """Content of /etc/hosts for the pod's containers; empty: localhost, and the hostname by its address."""
    sysctls: Annotated[dict[Text, Text], _Several] = field(default_factory=dict)
    share_tag: OptionalId = ""
    """Tag of the virtio-fs share of the volumes; empty: none."""
    scratch_serial: OptionalId = ""
    """Serial of the SCSI disk (ext4) that holds the writable layers; empty: a tmpfs does."""
    shm_size: Count = 64 * 1024 * 1024
    """Bytes of the pod's /dev/shm, shared by its containers."""
    user_namespace: UserNamespaceMapping | None = None
    """The user namespace of the pod's containers; None: they have the guest's users."""
    debug: Annotated[bool, Since(GUEST_COMMANDS)] = False
    """Allow commands in the guest itself (`GUEST`)."""
    waits: Annotated[bool, Since(WARMING_UP)] = False
    """The machine belongs to nobody yet, and has time."""
    card: Annotated[Mac, Since(CARD_FOR_ANY_POD)] = ""
    """The MAC of a card that is to have the MAC of the one interface; empty: the interfaces have theirs."""


@dataclass(frozen=True, slots=True)
class MakeTmpfs:
    """Make a tmpfs volume that containers mount from `/run/vmsandbox/tmpfs/NAME` (emptyDir, medium Memory)."""

    METHOD: ClassVar[str] = "make_tmpfs"
    RESULT: ClassVar[type] = Empty

    name: Id
    size: Count = 0
    """Bytes; 0, or more than the guest's memory: half of that, as in tmpfs(5)."""
    mode: Annotated[int, Between(0, 0o7777)] = 0o777
    group: UserId = 0
    """The gid that owns it."""
    path: Text = ""
    """A directory to make in it, with its parents (a subPath)."""


@dataclass(frozen=True, slots=True)
class AttachImage:
    """Mount the root image on the SCSI disk of that serial read-only at `/run/vmsandbox/images/SERIAL`."""

    METHOD: ClassVar[str] = "attach_image"
    RESULT: ClassVar[type] = Empty

    serial: Id
    filesystem: Annotated[str, Matching(r"[a-z0-9]{1,32}")] = "squashfs"


@dataclass(frozen=True, slots=True)
class DetachImage:
    """Unmount a root image and let the disk go, so that the host can unplug it. Succeeds where it is not."""

    METHOD: ClassVar[str] = "detach_image"
    RESULT: ClassVar[type] = Empty

    serial: Id


@dataclass(frozen=True, slots=True)
class Clock:
    """The result of `ReadClock`."""

    at: Count
    """The guest's time, in nanoseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class ReadClock:
    """Tell the guest's time."""

    METHOD: ClassVar[str] = "read_clock"
    RESULT: ClassVar[type] = Clock


@dataclass(frozen=True, slots=True)
class AdjustClock:
    """Add to the guest's time: it does not matter when this arrives."""

    METHOD: ClassVar[str] = "adjust_clock"
    RESULT: ClassVar[type] = Empty

    nanoseconds: Difference
    """Less than nothing where the guest's clock is fast."""
    step: bool = False
    """At once; otherwise the clock runs a little faster or slower, and never back."""


@dataclass(frozen=True, slots=True)
class Processors:
    """The result of `UseProcessors`."""

    online: Annotated[int, Between(1, cpus.MOST)]
    """The CPUs that the kernel uses."""


@dataclass(frozen=True, slots=True)
class UseProcessors:
    """Have the kernel use that many of the machine's CPUs, the first ones, and tell how many it uses then."""

    METHOD: ClassVar[str] = "use_processors"
    RESULT: ClassVar[type] = Processors

    count: Annotated[int, Between(0, cpus.MOST)] = 0
    """0: as many as now."""


@dataclass(frozen=True, slots=True)
class ReleaseDisk:
    """Write back what is not on the SCSI disk of that serial yet, and let it go. Succeeds where it is not."""

    METHOD: ClassVar[str] = "release_disk"
    RESULT: ClassVar[type] = Empty

    serial: Id


@dataclass(frozen=True, slots=True)
class FitMachine:
    """Have containers fit the memory of the machine, which the host has changed or is about to lower."""

    METHOD: ClassVar[str] = "fit_machine"
    RESULT: ClassVar[type] = Empty

    leaving: Count = 0
    """Bytes that the host is about to take; until the next such request containers do without them."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Kill all containers, sync and power off. The connection ends instead of an answer."""

    METHOD: ClassVar[str] = "shutdown"
    RESULT: ClassVar[type] = Empty
