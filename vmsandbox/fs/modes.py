"""Files and directories with exactly the mode that is asked for, whatever the umask of the process is.

Commands run with the umask `PRIVATE` (`vmsandbox.__main__`), so that a file is its user's alone unless its maker
decides otherwise. These functions are for files that others have to reach; they may lie where others write.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path

PRIVATE = 0o077
"""The umask of our own files."""

USUAL = 0o022
"""The umask for programs whose files are not ours: the one that systemd starts every other runtime with."""

PASSABLE = 0o711
"""The mode of a directory that others pass through to what they know the name of; they cannot list it."""


def make_directory(path: Path, mode: int) -> None:
    """Have a directory of ours with exactly this mode; one that exists is corrected. Parents that lack are passable.

    The path may be a link that the administrator has made.

    Raises:
        OSError: it cannot be made, or is something else.
    """
    make_missing(path.parent, PASSABLE)
    path.mkdir(mode=0o700, exist_ok=True)
    set_mode(path.resolve(), mode)


def make_missing(path: Path, mode: int) -> None:
    """Make a directory and the parents that it lacks, each with exactly this mode. What exists stays as it is.

    Raises:
        OSError: one cannot be made.
    """
    if path.exists():
        return
    make_missing(path.parent, mode)
    with contextlib.suppress(FileExistsError):  # somebody else has just made it
        path.mkdir(mode=0o700)
        set_mode(path, mode)


def set_mode(path: Path, mode: int, group: int = -1) -> None:
    """Give a file or directory this mode, and this group (-1: the one it has), where it differs; follows no link.

    Raises:
        OSError: there is nothing, or it is a link.
    """
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status, opened = os.fstat(fd), f"/proc/self/fd/{fd}"
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if group not in (-1, status.st_gid):
            os.chown(opened, -1, group)
        if status.st_mode & 0o7777 != mode:
            os.chmod(opened, mode)  # noqa: PTH101 - a link of /proc stands for what was opened
    finally:
        os.close(fd)


def touch(path: Path, mode: int) -> None:
    """Make an empty file with exactly this mode. What exists stays as it is; a link that leads nowhere is an error.

    Raises:
        OSError: it cannot be made.
    """
    if path.exists():
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
