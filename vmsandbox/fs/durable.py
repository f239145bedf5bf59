"""Writing files so that a kill or a power cut at any moment leaves the old content or the new."""

import errno
import os
import tempfile
from pathlib import Path


def replace_whole(
    path: Path, data: bytes, mode: int = 0o600, *, temporary: Path | None = None, synced: bool = True
) -> None:
    """Replace the file's content: written beside it, synced, renamed over it.

    Args:
        path: of the file; its directory exists.
        data: the new content.
        mode: exactly.
        temporary: the file in the same directory that is written first. Only an owner who is alone with it can name it,
            and so remove what a kill has left. Without one, a kill may leave a file `.tmp*`.
        synced: whether a power cut after this call leaves the new content. Otherwise it may leave the old one, where
            nothing that was made in the same file system later is left either.

    Raises:
        OSError: the disk does not take it; the old content stays.
    """
    fd, name = _opened(temporary) if temporary else tempfile.mkstemp(prefix=".tmp", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            sync_file(fd)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if synced:
        sync_directory(path.parent)


def replace_link(link: Path, target: str, *, temporary: Path) -> None:
    """Have a symbolic link point at `target`, in one step: made beside it, renamed over it.

    Args:
        link: is made if it is missing; its directory exists. A kill leaves the old one or the new one; a power cut may
            leave the old one, too, until the directory is synced (`sync_directory`).
        target: as `symlink(2)` takes it, relative to the link's directory.
        temporary: the name in the same directory that is made first; only an owner who is alone with it can name it.
            What a kill has left there is replaced.

    Raises:
        OSError: the link stays as it was.
    """
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def sync_file(fd: int) -> None:
    """Make a file's content survive a power cut."""
    os.fsync(fd)


def sync_directory(path: Path) -> None:
    """Make the renames in a directory survive a power cut, where its file system can."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_file(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # fsync(2): this file system does not do it
            raise
    finally:
        os.close(fd)


def _opened(path: Path) -> tuple[int, str]:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), str(path)
