"""Directories below one that is trusted, made and opened without following a link: others may have put one there."""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


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
    """As `opened_below`; each directory that is missing is made with exactly this mode, whatever the umask is.

    Raises:
        OSError: as `opened_below`; one cannot be made.
    """
    with _walked(trusted, names, mode) as directory:
        yield directory


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
