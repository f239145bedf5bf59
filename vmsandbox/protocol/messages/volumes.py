"""The request that gives the guest a volume of the kubelet's atomic writer, or its next version."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from vmsandbox.protocol.bounds import AtMost, Between, Count, Id, Matching, Text, Unicode, UserId
from vmsandbox.protocol.messages.guest import Empty

MAX_ENTRIES = 512
"""Files and directories of a version."""

_Mode = Annotated[int, Between(0, 0o7777)]
_Base64 = Annotated[str, AtMost(3 * 1024 * 1024), Unicode()]


@dataclass(frozen=True, slots=True)
class VolumeEntry:
    """A file or a directory of a version."""

    path: Text
    """Below the version's directory; empty: that directory itself. Its parents are entries before it."""
    mode: _Mode
    uid: UserId = 0
    gid: UserId = 0
    modified: Count = 0
    """Nanoseconds since the epoch."""
    content: _Base64 | None = field(default=None, repr=False)
    """The content of a file, in base64 (RFC 4648); None: it is a directory."""


@dataclass(frozen=True, slots=True)
class WriteVolume:
    """Have `/run/vmsandbox/tmpfs/NAME` hold this version, put there as the kubelet does it, for those who watch.

    The version becomes a directory, to which the link `..data` leads; the names that containers use are links through
    `..data`. Succeeds where the version is there.
    """

    METHOD: ClassVar[str] = "write_volume"
    RESULT: ClassVar[type] = Empty

    name: Id
    version: Annotated[str, Matching(r"\.\.[A-Za-z0-9_.-]{1,126}")]
    """Name of its directory."""
    entries: Annotated[tuple[VolumeEntry, ...], AtMost(MAX_ENTRIES)]
    make: bool = False
    """Make the volume where there is none; otherwise that is `not_found`."""
    size: Count = 0
    """Bytes that a volume which is made may hold, the old and the new version together."""
    mode: _Mode = 0o777
    """The mode of the volume itself."""
    gid: UserId = 0
