"""Sub-paths of volumes, opened so that no link leads out of the volume.

A container may write in its volumes, so what lies below one may change at any moment. The kernel follows a path once;
what it has opened has to be inside, and is what is mounted.
"""

import errno
import os
import stat
from pathlib import Path, PurePosixPath

from vmsandbox.errors import InvalidArgument
from vmsandbox.sandbox.files import MountTree, copy_tree


def copy_below(root: Path, sub_path: str, *, create: bool) -> MountTree:
    """The mounts at and below what `sub_path` is below `root`; the caller closes it. Their file system may hang.

    Args:
        root: of the volume.
        sub_path: relative, without `..`.
        create: make directories that are missing, with the rights of the volume's root.

    Raises:
        InvalidArgument: it leads out of the volume, is missing, or is in the way of a directory.
        FailedPrecondition: as `copy_tree`.
    """
    opened = open_below(root, sub_path, create=create)
    try:
        return copy_tree(Path(f"/proc/self/fd/{opened}"), root / sub_path)
    finally:
        os.close(opened)


def open_below(root: Path, sub_path: str, *, create: bool) -> int:
    """A file descriptor of what `sub_path` is below `root`; the caller owns it. As `copy_below`."""
    shown = f"the sub-path {sub_path[:80]!r}"
    try:
        return _open_below(root, PurePosixPath(sub_path), create=create)
    except FileNotFoundError:
        raise InvalidArgument(f"there is no {sub_path[:80]!r} in the volume") from None
    except NotADirectoryError:
        if not root.is_dir():
            raise InvalidArgument(f"the volume {root} is not a directory, and has no sub-paths") from None
        raise InvalidArgument(f"{shown} leads through a file") from None
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise InvalidArgument(f"{shown} leads out of its volume") from None
        raise InvalidArgument(f"{shown} cannot be opened: {error.strerror}") from None


def _open_below(root: Path, path: PurePosixPath, *, create: bool) -> int:
    volume = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            return _inside(volume, path)
        except FileNotFoundError:
            if not create:
                raise
            return _made(volume, path)
    finally:
        os.close(volume)


def _inside(volume: int, path: PurePosixPath) -> int:
    """Open a path from the volume's root. Raises OSError; with EXDEV if it leads out of the volume."""
    found = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=volume)
    root, real = (Path(f"/proc/self/fd/{fd}").readlink() for fd in (volume, found))
    if real == root or root in real.parents:
        return found
    os.close(found)
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def _made(volume: int, path: PurePosixPath) -> int:
    """The same, where directories of the path are missing, which are made."""
    at = _inside(volume, PurePosixPath())
    for depth, name in enumerate(path.parts, start=1):
        try:
            below = _inside(volume, PurePosixPath(*path.parts[:depth]))
        except FileNotFoundError:
            below = _make(at, name, stat.S_IMODE(os.fstat(volume).st_mode))
        finally:
            os.close(at)
        at = below
    return at


def _make(parent: int, name: str, mode: int) -> int:
    """Make a directory that belongs to its parent's owner."""
    os.mkdir(name, 0o700, dir_fd=parent)
    made = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    owner = os.fstat(parent)
    os.fchown(made, owner.st_uid, owner.st_gid)
    os.fchmod(made, mode)
    return made
