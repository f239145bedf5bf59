"""A block device of the host on its way into a machine: as it is found at a path, and as a node for QEMU."""

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.fs import block

SHARED = stat.S_ISVTX
"""The bit that marks a node of a pod that shares its devices with others; it means nothing else on a device."""


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A block device or a regular file of the host that becomes a disk. The owner of this object closes it."""

    path: Path
    fd: int
    """Opened with O_PATH."""
    status: os.stat_result

    @property
    def is_device(self) -> bool:
        """Whether it is a block device, and not a file."""
        return stat.S_ISBLK(self.status.st_mode)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


def look(path: Path) -> FoundDevice | None:
    """Open `path`, following links; None if it is neither a block device nor a regular file."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(fd)
    if stat.S_ISBLK(status.st_mode) or stat.S_ISREG(status.st_mode):
        return FoundDevice(path, fd, status)
    os.close(fd)
    return None


@dataclass(frozen=True, slots=True)
class BlockNode:
    """A node that is there."""

    serial: str
    """The name of the node, and the serial of the disk."""
    path: Path
    number: int
    """The number of the device (`st_rdev`)."""
    writable: bool
    shared: bool = False
    """Whether its pod takes other pods that write to the device."""

    @classmethod
    def at(cls, path: Path) -> "BlockNode | None":
        """The node at a path; None where there is none (any more)."""
        with contextlib.suppress(OSError):
            status = path.lstat()
            if stat.S_ISBLK(status.st_mode):
                mode = status.st_mode
                return cls(path.name, path, status.st_rdev, bool(mode & stat.S_IWUSR), bool(mode & SHARED))
        return None


@dataclass(frozen=True, slots=True)
class MadeNode:
    """A node that was made, for QEMU to open. Its owner closes it then: a loop device goes with its last user."""

    node: BlockNode
    geometry: block.Geometry
    loop: int | None = None
    """The loop device over a file, opened."""

    def close(self) -> None:
        """Let go of the device."""
        if self.loop is not None:
            os.close(self.loop)

    def undo(self) -> None:
        """Remove the node: nobody has opened it."""
        self.node.path.unlink(missing_ok=True)
        self.close()


def nodes_in(directory: Path) -> tuple[BlockNode, ...]:
    """All nodes in a directory; none where it is not there."""
    try:
        paths = sorted(directory.iterdir())
    except FileNotFoundError:
        return ()
    return tuple(node for node in map(BlockNode.at, paths) if node is not None)
