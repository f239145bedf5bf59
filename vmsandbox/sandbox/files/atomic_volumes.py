"""Volumes of the kubelet's atomic writer, read on the host: configMap, secret, projected, downwardAPI.

Such a volume is a directory whose link `..data` leads to a directory with a version of all files; the kubelet replaces
the link and nothing else (k8s.io/kubernetes, pkg/volume/util/atomic_writer.go). They are read here with bounds and
without following links, since what is found may be something else all the same. All functions may hang.
"""

import base64
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vmsandbox.fs.opening import open_regular
from vmsandbox.model import Mount, PropagationMode
from vmsandbox.protocol.messages import MAX_ENTRIES, VolumeEntry

DATA = "..data"

LARGEST = 2 * 1024 * 1024
"""Bytes of the guest's memory that a version may take; an object of Kubernetes is 1 MiB at most, in etcd."""

_PAGE, _INODE = 4096, 1024
"""Bytes that an entry uses in a tmpfs, in addition to whole pages of its content."""

_DEEPEST = 16

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_VERSION = re.compile(r"\.\.[A-Za-z0-9_.-]{1,126}")

_VOLUME = re.compile(r"/pods/[^/]+/volumes/kubernetes\.io~(configmap|secret|projected|downward-api)/[^/]+/?$")
"""Where a kubelet has them. What other directories hold may be written by the pod's own containers."""


class TooLarge(Exception):
    """A version has more files, or larger ones, than are kept in a guest's memory."""


@dataclass(frozen=True, slots=True)
class Version:
    """All that a volume holds at one time."""

    name: str
    """The name of the version's directory."""
    entries: tuple[VolumeEntry, ...]
    weight: int
    """Bytes of memory that it takes."""
    mode: int
    """The mode of the volume itself."""
    gid: int


def is_candidate(mount: Mount) -> bool:
    """Whether a mount may be of such a volume: the kubelet has them mounted read-only, and whole."""
    plain = mount.readonly and mount.propagation is PropagationMode.PRIVATE and not mount.image and not mount.tmpfs
    return plain and _VOLUME.search(mount.host_path) is not None


def read_version(volume: Path) -> Version | None:
    """The version that a volume has now; None where it is not one of the atomic writer.

    Raises:
        TooLarge: it is larger than `LARGEST`, or has more files than `MAX_ENTRIES`.
        OSError: it is not there, or was replaced meanwhile (FileNotFoundError).
    """
    fd = os.open(volume, _DIRECTORY & ~os.O_NOFOLLOW)
    try:
        name = _name_of_version(fd)
        if name is None:
            return None
        status = os.fstat(fd)
        entries = _read(fd, name)
    finally:
        os.close(fd)
    if entries is None:
        return None
    return Version(name, entries, sum(map(_weight, entries)), stat.S_IMODE(status.st_mode), status.st_gid)


def _name_of_version(volume: int) -> str | None:
    try:
        name = os.readlink(DATA, dir_fd=volume)
    except FileNotFoundError:
        return None
    except OSError:  # It is not a link.
        return None
    others = (each for each in _names(volume) if not each.startswith(".."))
    links = all(stat.S_ISLNK(os.lstat(each, dir_fd=volume).st_mode) for each in others)
    return name if links and _VERSION.fullmatch(name) else None


def _read(volume: int, name: str) -> tuple[VolumeEntry, ...] | None:
    budget, entries = LARGEST, []
    for entry in _walk(volume, name, "", 0):
        if entry is None:
            return None
        budget -= _weight(entry)
        entries.append(entry)
        if budget < 0 or len(entries) > MAX_ENTRIES:
            raise TooLarge
    return tuple(entries)


def _walk(parent: int, name: str, path: str, depth: int) -> Iterator[VolumeEntry | None]:
    """A directory and what is in it; None for what the atomic writer does not make."""
    if depth > _DEEPEST:
        raise TooLarge
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        yield _entry(path, os.fstat(fd))
        for each in _names(fd):
            below = f"{path}/{each}" if path else each
            kind = os.lstat(each, dir_fd=fd).st_mode
            if stat.S_ISDIR(kind):
                yield from _walk(fd, each, below, depth + 1)
            else:
                yield _file(fd, each, below) if stat.S_ISREG(kind) else None
    finally:
        os.close(fd)


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as found:
        names = sorted(each.name for each in islice(found, 2 * MAX_ENTRIES))
    if len(names) == 2 * MAX_ENTRIES:
        raise TooLarge
    return names


def _file(directory: int, name: str, path: str) -> VolumeEntry:
    with os.fdopen(open_regular(name, directory=directory), "rb") as file:
        content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise TooLarge
        return _entry(path, os.fstat(file.fileno()), base64.b64encode(content).decode())


def _entry(path: str, status: os.stat_result, content: str | None = None) -> VolumeEntry:
    mode = stat.S_IMODE(status.st_mode)
    return VolumeEntry(path, mode, status.st_uid, status.st_gid, max(0, status.st_mtime_ns), content)


def _weight(entry: VolumeEntry) -> int:
    size = len(entry.content or "") * 3 // 4
    return _INODE + -(-size // _PAGE) * _PAGE
