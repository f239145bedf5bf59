"""The block devices of the host that one machine has: each as a device node of its own, which only its QEMU can open.

A node has the number of the host's device, QEMU's user as its owner, and the mode 0600, or 0400 where the pod only
reads. So the host's own node keeps its owner and its mode, and QEMU reaches this one device. The nodes are also the
record of what is in use, for all processes of this host: they are there before a device is plugged in, and go after it.

A device has one pod that writes to it, and any number that read: each machine keeps blocks in its own memory, and of
two that write, one destroys what the other has written near. Pods whose programs know how to share a device (O_DIRECT,
locks of their own: clustered file systems and databases) say so by an annotation, and share it with their like.

A regular file becomes a loop device, which the kernel takes away with its last user.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, VmsandboxError
from vmsandbox.fs import block
from vmsandbox.fs.locks import locked
from vmsandbox.process import Account
from vmsandbox.sandbox.blocks.node import SHARED, BlockNode, FoundDevice, MadeNode, nodes_in

_READ, _WRITE = 0o400, 0o600

SHARE = "vmsandbox/share-block-volumes"
"""The annotation of such a pod, with the value "true"."""


class BlockNodes:
    """The nodes of one sandbox. All calls block; those on what was found may hang where its device does."""

    def __init__(
        self,
        directory: Path,
        owner: Callable[[], Account],
        everyone: Callable[[], Iterable[Path]],
        lock: Path,
        *,
        shared: bool = False,
    ) -> None:
        """Keep nodes in `directory`.

        Args:
            directory: made by `files.make_node_directory`, and removed with the sandbox.
            owner: tells the user of the machine's QEMU.
            everyone: lists such directories of all sandboxes of this host.
            lock: a file that all processes of this host lock, which is made.
            shared: whether the pod shares what it writes with other pods that say so.
        """
        self._shared = shared
        self._directory = directory
        self._owner = owner
        self._everyone = everyone
        self._lock = lock

    def all(self) -> tuple[BlockNode, ...]:
        """All nodes of the sandbox."""
        return nodes_in(self._directory)

    def existing(self, found: FoundDevice, *, write: bool) -> BlockNode | None:
        """The node by which the pod has a device already; one that it only reads does not serve for writing."""
        number = found.status.st_rdev
        numbers = {number} if found.is_device else set(block.loops_over(found.status))
        write = write and not (found.is_device and block.is_read_only(number))
        nodes = [node for node in self.all() if node.number in numbers and node.writable >= write]
        return max(nodes, key=lambda node: node.writable, default=None)

    def make(self, found: FoundDevice, serial: str, *, write: bool) -> MadeNode:
        """Make a node for a device, which is the caller's to remove. On failure nothing is left.

        Args:
            found: the device or file; a device that nobody can write becomes a node that is read.
            serial: of the disk.
            write: whether the pod writes to it.

        Raises:
            InvalidArgument: it has no size.
            FailedPrecondition: the host or another sandbox uses it, and one of the two would destroy the other's
                data; the device cannot be opened.
            ResourceExhausted: no loop device is free.
        """
        if not self._directory.is_dir():
            raise FailedPrecondition(
                "its machine cannot get block devices: an older version of vmsandbox started it",
                hint="create the pod again",
            )
        path, loop = self._directory / serial, None
        try:
            loop = None if found.is_device else self._loop(found, write=write)
            number = found.status.st_rdev if loop is None else os.fstat(loop).st_rdev
            write = write and not block.is_read_only(number)
            return MadeNode(*self._make(found.path, path, number, write=write), loop)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if loop is not None:
                os.close(loop)
            if isinstance(error, OSError):
                raise _explained(found.path, error) from None
            raise

    @staticmethod
    def size(node: BlockNode) -> int:
        """The bytes that a device, or the file behind a loop device of ours, has now."""
        block.follow_file(node.path, node.number)
        return block.size_of(node.number)

    def remove(self, serial: str) -> None:
        """Remove a node, when its disk is unplugged. Succeeds where there is none."""
        (self._directory / serial).unlink(missing_ok=True)

    def _make(self, source: Path, path: Path, number: int, *, write: bool) -> tuple[BlockNode, block.Geometry]:
        with locked(self._lock):
            if write:
                self._check_unused(source, number)
            os.mknod(path, stat.S_IFBLK | (_WRITE if write else _READ) | (SHARED if self._shared else 0), number)
        if write and block.is_used_by_host(path):
            raise FailedPrecondition(
                f"{source} is in use by this host: mounted, as swap, or as part of another device",
                hint="unmount it; `lsblk` and `findmnt` say what uses it",
            )
        geometry = _geometry(source, path)
        owner = self._owner()
        os.chown(path, owner.uid, owner.gid)
        return BlockNode(path.name, path, number, write, self._shared), geometry

    def _check_unused(self, source: Path, number: int) -> None:
        for directory in self._everyone():
            if directory != self._directory and any(self._clashes(node, number) for node in nodes_in(directory)):
                raise FailedPrecondition(
                    f"{source} is written by another pod of this node, in sandbox {directory.parent.name}",
                    hint=f"pods whose programs can share a device have the annotation {SHARE}: docs/limitations.md",
                )

    def _clashes(self, other: BlockNode, number: int) -> bool:
        return other.number == number and other.writable and not (other.shared and self._shared)

    def _loop(self, found: FoundDevice, *, write: bool) -> int:
        """A loop device over a file."""
        busy = [number for number, writable in block.loops_over(found.status).items() if writable]
        if write and busy:
            raise FailedPrecondition(
                f"{found.path} is in use by this host or another pod, as {block.name_of(busy[0])}",
                hint="`losetup -a` lists them",
            )
        file = os.open(f"/proc/self/fd/{found.fd}", (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            return block.loop_over(file)
        finally:
            os.close(file)


def _geometry(source: Path, path: Path) -> block.Geometry:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        geometry = block.geometry(fd)
    finally:
        os.close(fd)
    if not geometry.size:
        raise InvalidArgument(f"{source} has no size: there is no medium in it, or it is smaller than a block")
    return geometry


def _explained(source: Path, error: OSError) -> VmsandboxError:
    kind = ResourceExhausted if error.errno in (errno.ENOSPC, errno.EBUSY, errno.ENODEV) else FailedPrecondition
    return kind(f"{source} cannot be made a disk: {error}")
