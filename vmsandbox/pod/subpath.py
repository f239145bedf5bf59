"""Sub-paths of volumes, opened so that no link leads out of the volume.

A container may write in its volumes, so what lies below one may change at any moment. The path is resolved once and
has to stay inside; then every directory on the way is opened from the one before it, and none of them may be a link.
What was opened is what is mounted.
"""

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
    inside = _resolved(root, sub_path)
    if not root.is_dir():
        raise InvalidArgument(f"the volume {root} is no directory, and has no sub-paths")
    mode = stat.S_IMODE(root.stat().st_mode)
    at = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in inside.parts:
        try:
            below = _step(at, name, sub_path, mode if create else None)
        finally:
            os.close(at)
        at = below
    return at


def _resolved(root: Path, sub_path: str) -> PurePosixPath:
    real_root = Path(os.path.realpath(root))
    real = Path(os.path.realpath(real_root / sub_path))
    if real != real_root and real_root not in real.parents:
        raise InvalidArgument(f"the sub-path {sub_path[:80]!r} leads out of its volume")
    return PurePosixPath(real.relative_to(real_root))


def _step(at: int, name: str, sub_path: str, new_mode: int | None) -> int:
    try:
        below = _open(at, name, new_mode)
    except FileNotFoundError:
        raise InvalidArgument(f"there is no {sub_path[:80]!r} in the volume") from None
    except NotADirectoryError:
        raise InvalidArgument(f"the sub-path {sub_path[:80]!r} leads through a file") from None
    except OSError as error:
        raise InvalidArgument(f"the sub-path {sub_path[:80]!r} cannot be opened: {error.strerror}") from None
    if stat.S_ISLNK(os.fstat(below).st_mode):
        os.close(below)
        raise InvalidArgument(f"the sub-path {sub_path[:80]!r} was changed to a link while it was opened")
    return below


def _open(at: int, name: str, new_mode: int | None) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=at)
    except FileNotFoundError:
        if new_mode is None:
            raise
    os.mkdir(name, _NEW_DIRECTORY, dir_fd=at)
    made = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    try:
        group = os.stat("..", dir_fd=made).st_gid
        os.fchown(made, -1, group)
        os.fchmod(made, new_mode)
    finally:
        os.close(made)
    return os.open(name, flags, dir_fd=at)
