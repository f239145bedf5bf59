"""Writing files so that a kill or a power cut at any moment leaves the old content or the new."""

import os
import tempfile
from pathlib import Path


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the file's content: written beside it, synced, renamed over it.

    A kill may leave a file `.tmp*` in the directory, which its owner clears away.
    """
    fd, temporary = tempfile.mkstemp(prefix=".tmp", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            sync_file(fd)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_file(fd: int) -> None:
    """Make a file's content survive a power cut."""
    os.fsync(fd)


def sync_directory(path: Path) -> None:
    """Make the renames in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_file(fd)
    finally:
        os.close(fd)
