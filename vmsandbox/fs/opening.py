"""Regular files opened where somebody else may have put something: a FIFO, a device, a link, a file without end.

Opening a FIFO waits for its other end, opening a device can do anything, and a link leads elsewhere. So what is at a
path is looked at before it is opened, by a descriptor (O_PATH) of which nothing can take the place.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

MEBIBYTE = 1 << 20


def open_regular(
    path: str | Path, flags: int = os.O_RDONLY, *, follow: bool = False, directory: int | None = None
) -> int:
    """A file descriptor of a regular file that exists; the caller owns it.

    Args:
        path: of the file. Links in its parents are followed.
        flags: of open(2); without O_CREAT.
        follow: the file may be a link: it is the administrator's own, and named by them.
        directory: the descriptor of the directory below which the path is.

    Raises:
        OSError: there is nothing at the path (FileNotFoundError), it is not a regular file, it cannot be opened.
    """
    found = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW), dir_fd=directory)
    try:
        mode = os.fstat(found).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"it is {_KINDS.get(stat.S_IFMT(mode), 'something')}, not a regular file", path)
        return os.open(f"/proc/self/fd/{found}", flags | os.O_CLOEXEC)
    finally:
        os.close(found)


def open_or_make(path: str | Path, flags: int, mode: int, *, directory: int | None = None) -> int:
    """Open a file like `open_regular`, following no link. If it is missing, make an empty one with exactly `mode`.

    Raises:
        OSError: it is not a regular file; it cannot be opened, or not be made.
    """
    try:
        made = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=directory)
    except FileExistsError:
        return open_regular(path, flags, directory=directory)
    os.fchmod(made, mode)  # whatever the umask is
    return made


def regular_file(path: str | Path, *, follow: bool = False) -> BufferedReader:
    """A regular file, to be read and closed by the caller. Raises as `open_regular`."""
    return os.fdopen(open_regular(path, follow=follow), "rb")


def read_regular(path: str | Path, limit: int, *, follow: bool = False) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises:
        OSError: as `open_regular`; it is larger (EFBIG).
    """
    with regular_file(path, follow=follow) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit} bytes", path)
    return content


def reason(error: Exception) -> str:
    """Why a file could not be read, for a message that names its path."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
