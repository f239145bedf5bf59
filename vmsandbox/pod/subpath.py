"""Sub-paths of volumes, opened so that no link leads out of the volume.

A container may write in its volumes, so what lies below one may change at any moment. The path is resolved once and
has to stay inside; then every directory on the way is opened from the one before it, and none of them may be a link.
What was opened is what is mounted.
"""

import errno
import os
import stat
from pathlib import Path, PurePosixPath

from vmsandbox.errors import InvalidArgument

_NEW_DIRECTORY = 0o755


def open_below(root: Path, sub_path: str, *, create: bool) -> int:
    """A file descriptor (O_PATH) of what `sub_path` is below `root`; the caller owns it.

    Args:
        root: of the volume.
        sub_path: relative, without `..`.
        create: make directories that are missing, with the rights of the volume's root.

    Raises:
        InvalidArgument: it leads out of the volume, is missing, or is in the way of a directory.
    """
    if not root.is_dir():
        raise InvalidArgument(f"the volume {root} is no directory, and has no sub-paths")
    try:
        return _walk(root, _resolved(root, sub_path), stat.S_IMODE(root.stat().st_mode) if create else None)
    except FileNotFoundError:
        raise InvalidArgument(f"there is no {sub_path[:80]!r} in the volume") from None
    except NotADirectoryError:
        raise InvalidArgument(f"the sub-path {sub_path[:80]!r} leads through a file") from None
    except OSError as error:
        raise InvalidArgument(f"the sub-path {sub_path[:80]!r} cannot be opened: {error.strerror}") from None


def _resolved(root: Path, sub_path: str) -> PurePosixPath:
    real_root = Path(os.path.realpath(root))
    real = Path(os.path.realpath(real_root / sub_path))
    if real != real_root and real_root not in real.parents:
        raise InvalidArgument(f"the sub-path {sub_path[:80]!r} leads out of its volume")
    return PurePosixPath(real.relative_to(real_root))


def _walk(root: Path, inside: PurePosixPath, new_mode: int | None) -> int:
    """Open one name after the other, each from the directory before it; raises OSError where there is a link."""
    at = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in inside.parts:
        try:
            below = _open(at, name, new_mode)
        finally:
            os.close(at)
        at = below
    return at


def _open(at: int, name: str, new_mode: int | None) -> int:
    try:
        return _open_no_link(at, name)
    except FileNotFoundError:
        if new_mode is None:
            raise
    parent = os.fstat(at)
    os.mkdir(name, _NEW_DIRECTORY, dir_fd=at)
    made = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    try:
        os.fchown(made, parent.st_uid, parent.st_gid)
        os.fchmod(made, new_mode)
    finally:
        os.close(made)
    return _open_no_link(at, name)


def _open_no_link(at: int, name: str) -> int:
    opened = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    if stat.S_ISLNK(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.ELOOP, "it was made a link meanwhile")
    return opened
