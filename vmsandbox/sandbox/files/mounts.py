"""Trees of bind mounts: copies of what the host has mounted, restricted and attached; and the mount that is served.

The directory that virtiofsd serves is read-only to the guest, by a mount: the guest's root acts as root on what is
served, and could else put there what it likes, in place of what the host has made. The volumes below it are mounted in
virtiofsd's mount namespace (`shared_volumes`).
"""

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.sandbox.files import mount_calls as calls
from vmsandbox.sandbox.files.mountinfo import mounts_below


@dataclass(frozen=True, slots=True)
class MountAccess:
    """How a volume is seen by the guest."""

    readonly: bool = False
    recursive: bool = False
    """Read-only is also what is mounted below it."""
    follows: bool = False
    """Whether later mounts of the host below it appear (and disappear) in it; nothing ever goes the other way."""
    owners: int | None = None
    """A user namespace, as a file descriptor, by which the owners of its files are mapped (see `idmap`)."""


@dataclass(frozen=True, slots=True)
class MountTree:
    """A copy of the mounts at and below a directory or a file, attached nowhere. Its owner closes it."""

    fd: int
    source: Path
    is_directory: bool

    def close(self) -> None:
        """Let go of it; what was attached stays."""
        os.close(self.fd)


def copy_tree(source: Path, name: Path | None = None) -> MountTree:
    """A copy of the mounts at and below `source`; this looks at the source, whose file system may hang.

    Args:
        source: links are followed, those of /proc to open files as well.
        name: what errors call it; `source` where None.

    Raises:
        InvalidArgument: the source does not exist.
        FailedPrecondition: its file system, or the kernel, refuses.
    """
    os.close(open_path(source))
    fd = calls.copy_of(source)
    return MountTree(fd, name or source, stat.S_ISDIR(os.fstat(fd).st_mode))


def open_path(source: Path) -> int:
    """A descriptor, of no use but as a place, of what is at a path of the host; the caller's. Raises as `copy_tree`."""
    try:
        return os.open(source, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidArgument(f"the volume's path {source} does not exist on the host") from None
    except OSError as error:
        raise FailedPrecondition(f"the volume's path {source} cannot be opened: {error.strerror}") from None


def bind_tree(tree: MountTree, target: Path, access: MountAccess = MountAccess()) -> None:
    """Mount `tree` at `target`, which is made; the caller owns the mount.

    It appears at its place as it is going to be: nobody sees it writable, or as a peer of its source, before. Through
    this mount set-user-id bits and device nodes have no meaning (nosuid, nodev), and read-only is the host's to
    enforce. The guest's root acts as root on it, though: the files that it makes are the source's as well, where the
    host's own mount decides what their modes mean (docs/security.md).

    Raises:
        FailedPrecondition: the kernel refuses the mount.
    """
    restrict(tree, access)
    make_place(target, tree)
    calls.attach(tree.fd, tree.source, target)


def serve(share: Path, served: Path) -> None:
    """Mount `share` at `served` read-only, for virtiofsd."""
    with contextlib.closing(copy_tree(share)) as tree:
        restrict(tree, MountAccess(readonly=True))
        calls.attach(tree.fd, share, served)


def restrict(tree: MountTree, access: MountAccess) -> None:
    """Give a tree that is attached nowhere its rights. Raises FailedPrecondition: the kernel refuses."""
    propagation = calls.SLAVE if access.follows else calls.PRIVATE
    calls.set_attributes(tree.fd, tree.source, calls.NOSUID | calls.NODEV, propagation)
    if access.readonly:
        calls.set_attributes(tree.fd, tree.source, calls.READONLY, recursive=access.recursive)
    if access.owners is not None:
        calls.set_attributes(tree.fd, tree.source, calls.IDMAP, owners=access.owners)


def make_place(target: Path, tree: MountTree) -> None:
    """Make what `tree` can be mounted at."""
    if tree.is_directory:
        target.mkdir(parents=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def unmount_below(directory: Path) -> None:
    """Detach every mount at and below `directory`, the latest first. Does nothing where there are none.

    Raises:
        FailedPrecondition: a mount stays; nothing below `directory` may be removed then.
    """
    for target in reversed(mounts_below(directory)):
        calls.detach(target)
