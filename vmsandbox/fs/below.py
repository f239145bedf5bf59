"""Paths below a trusted directory, made and opened without following a link: others may have put one there.

Each name is opened below the directory before it. openat2(2) would do that in one call, but no filter of system calls
can read its arguments: systemd refuses it altogether where RestrictSUIDSGID= is set, as in our unit.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened_below(trusted: Path, names: Iterable[str]) -> Iterator[int]:
    """A descriptor of the directory at `trusted/NAME/...`, which is closed when the context is left.

    Args:
        trusted: links on the way to it are followed.
        names: one after the other; each is opened below the directory before it, and none may be a link.

    Raises:
        OSError: one does not exist (FileNotFoundError), is a link or something else (NotADirectoryError).
    """
    with _walked(trusted, names, None) as directory:
        yield directory


@contextlib.contextmanager
def made_below(trusted: Path, names: Iterable[str], mode: int) -> Iterator[int]:
    """Open a directory like `opened_below`; make missing directories with exactly this mode, whatever the umask is.

    Raises:
        OSError: as `opened_below`; one cannot be made.
    """
    with _walked(trusted, names, mode) as directory:
        yield directory


def place_below(directory: int, names: Iterable[str]) -> int:
    """Open what is at `directory/NAME/...`, whatever it is, as a place alone (O_PATH); the caller closes it.

    Mounts on the way are entered.

    Raises:
        OSError: a name is missing, is a link (ELOOP), or would lead out of `directory` (EXDEV).
    """
    place = os.open(".", _PLACE, dir_fd=directory)
    for name in names:
        try:
            below = _open_place(name, place)
        finally:
            os.close(place)
        place = below
    return place


def _open_place(name: str, directory: int) -> int:
    if name == ".." or "/" in name:
        raise OSError(errno.EXDEV, "the name leads out of its directory", name)
    place = os.open(name, _PLACE, dir_fd=directory)
    if stat.S_ISLNK(os.fstat(place).st_mode):
        os.close(place)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return place


@contextlib.contextmanager
def _walked(trusted: Path, names: Iterable[str], mode: int | None) -> Iterator[int]:
    directory = os.open(trusted, _DIRECTORY)
    try:
        for name in names:
            made = mode is not None and _make(name, directory)
            below = _open(name, directory)
            os.close(directory)
            directory = below
            if made and mode is not None:
                os.fchmod(directory, mode)
        yield directory
    finally:
        os.close(directory)


def _make(name: str, directory: int) -> bool:
    """Return whether it was missing."""
    try:
        os.mkdir(name, 0o700, dir_fd=directory)
    except FileExistsError:
        return False
    return True


def _open(name: str, directory: int) -> int:
    try:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except NotADirectoryError:
        raise NotADirectoryError(errno.ENOTDIR, f"{name} is not a directory, or is a link", name) from None
