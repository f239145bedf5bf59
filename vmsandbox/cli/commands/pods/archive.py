"""Tar archives between this host and a container, whose side may be hostile.

`unpack` writes below one directory and nowhere else, whatever the archive says: every name is opened below the
directory before it, without following a link. Python's own filter (`tarfile.data_filter`) is not in Debian 12's Python.
"""

import contextlib
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from typing_extensions import override

from vmsandbox.errors import InvalidArgument
from vmsandbox.fs.below import made_below, opened_below

_MAX_EXTENSION = 1 << 20
"""Bytes of an extended header, which tarfile reads into memory."""
_EXTENSIONS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
_DIRECTORY_MODE = 0o755


class _BoundedMember(tarfile.TarInfo):
    """A member whose headers take a bounded amount of memory."""

    @override
    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:  # type: ignore[misc]
        if self.type in _EXTENSIONS and self.size > _MAX_EXTENSION:
            raise tarfile.ReadError("an extended header is too large")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("sparse files are not supported")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]

    def _proc_gnusparse_00(self, *_: object) -> None:
        raise tarfile.ReadError("sparse files are not supported")

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an archive's tree goes."""

    directory: Path
    """A directory that exists, and is trusted."""
    name: str
    """The name that the tree has there; empty: its content goes into the directory."""


def pack(source: Path, name: str, file: BinaryIO) -> None:
    """Write an archive of a file or a tree, owned by root, whose top is called `name`. Raises OSError."""
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        tar.add(source, arcname=name, filter=_owned_by_root)


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def unpack(file: BinaryIO, destination: Destination, warn: Callable[[str], None]) -> int:
    """Unpack an archive of one tree; return how many of its entries there are now.

    Files belong to the caller, without set-user-id bits. Devices, FIFOs, and links that lead out of the tree are left
    out, with a warning.

    Raises:
        InvalidArgument: it is not an archive, or has a name that leads elsewhere.
        OSError: a file cannot be written.
    """
    count = left_out = 0

    def leave_out(text: str) -> None:
        nonlocal left_out
        left_out += 1
        warn(text)

    try:
        with tarfile.open(fileobj=file, mode="r|", tarinfo=_BoundedMember) as tar:
            for member in tar:
                count += 1
                tar.members = []  # type: ignore[attr-defined]  # Else it remembers each.
                _Entry(tar, member, destination, _path(member.name, destination)).write(leave_out)
    except (tarfile.TarError, ValueError, EOFError) as error:
        if count == 0 and isinstance(error, tarfile.ReadError) and "empty" in str(error):
            return 0
        raise InvalidArgument(f"what came from the container is not a proper tar archive: {error}") from None
    return count - left_out


def _path(name: str, destination: Destination) -> tuple[str, ...]:
    """Return the place of a name below the destination's directory."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise InvalidArgument(f"the archive from the container has the name {name[:200]!r}, which leads elsewhere")
    return (destination.name, *parts[1:]) if destination.name else tuple(parts)


@dataclass(frozen=True, slots=True)
class _Entry:
    tar: tarfile.TarFile
    member: tarfile.TarInfo
    destination: Destination
    path: tuple[str, ...]

    def write(self, warn: Callable[[str], None]) -> None:
        if not self.path:  # The tree's top, whose content goes into an existing directory.
            return
        if self.member.isdir():
            self._directory()
        elif self.member.isreg():
            self._file()
        elif self.member.issym():
            self._symlink(warn)
        elif self.member.islnk():
            self._hard_link()
        else:
            warn(f"{'/'.join(self.path)} is left out: it is a device or a FIFO")

    def _directory(self) -> None:
        with made_below(self.destination.directory, self.path, _DIRECTORY_MODE) as directory:
            os.fchmod(directory, self.member.mode & 0o777 | 0o700)

    def _file(self) -> None:
        content = self.tar.extractfile(self.member)
        assert content is not None
        with self._parent() as directory:
            self._clear(directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(self.path[-1], flags, 0o600, dir_fd=directory), "wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
                os.fchmod(file.fileno(), self.member.mode & 0o777)
                file.flush()
                with contextlib.suppress(OSError, OverflowError, ValueError):  # A guest may claim any time.
                    os.utime(file.fileno(), (self.member.mtime, self.member.mtime))

    def _symlink(self, warn: Callable[[str], None]) -> None:
        target = self.member.linkname
        depth = len(self.path) - (2 if self.destination.name else 1)
        if target.startswith("/") or not _stays(target.split("/"), depth):
            warn(f"{'/'.join(self.path)} is left out: it is a link to {target[:200]}, out of the copied tree")
            return
        with self._parent() as directory:
            self._clear(directory)
            os.symlink(target, self.path[-1], dir_fd=directory)

    def _hard_link(self) -> None:
        source = _path(self.member.linkname, self.destination)
        if not source:
            raise InvalidArgument("the archive from the container has a hard link to a directory")
        with opened_below(self.destination.directory, source[:-1]) as there, self._parent() as here:
            if not stat.S_ISREG(os.stat(source[-1], dir_fd=there, follow_symlinks=False).st_mode):
                raise InvalidArgument("the archive from the container has a hard link to something else than a file")
            if source != self.path:
                self._clear(here)
                os.link(source[-1], self.path[-1], src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)

    def _parent(self) -> contextlib.AbstractContextManager[int]:
        return made_below(self.destination.directory, self.path[:-1], _DIRECTORY_MODE)

    def _clear(self, directory: int) -> None:
        """Remove what has the entry's name, unless it is a directory."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path[-1], dir_fd=directory)


def _stays(target: Sequence[str], depth: int) -> bool:
    """Whether a link's target, followed from `depth` directories below the tree's top, never leaves the tree.

    `..` may stand at the beginning alone: behind the name of another link it would lead up from wherever that leads.
    """
    ups = 0
    while ups < len(target) and target[ups] in ("..", "."):
        ups += 1
    return target[:ups].count("..") <= depth and ".." not in target[ups:]
