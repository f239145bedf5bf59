"""The mounts that a process sees (proc(5), mountinfo)."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A line of proc(5) mountinfo."""

    path: Path = Path("/")
    root: str = "/"
    """The path within the file system that is mounted."""
    filesystem: str = ""
    id: int = 0
    parent: int = 0
    """The id of the mount that it is mounted on."""
    device: str = ""
    """The file system: its major and minor number."""
    options: frozenset[str] = frozenset()
    """The options of the mount (`ro`, `nosuid`), not those of its file system."""
    propagates: bool = False
    """Whether it gets what is mounted somewhere else: it is shared, or a slave."""

    @property
    def readonly(self) -> bool:
        """Whether the mount is; its file system may be besides."""
        return "ro" in self.options


def read(process: Path = Path("/proc/self")) -> list[MountPoint]:
    """The mounts of a process, with their paths as that process sees them. Raises OSError where it has ended."""
    lines = (process / "mountinfo").read_bytes().splitlines()
    return [_parse(*line.split(b" - ", 1)) for line in lines]


def mount_id(fd: int) -> int:
    """The id of the mount that a file descriptor is on."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(int(value) for name, _, value in (line.partition(":") for line in lines) if name == "mnt_id")


def mounts_below(directory: Path) -> list[Path]:
    """The mount points at and below `directory`, in the order in which they were made."""
    return [each.path for each in read() if each.path == directory or directory in each.path.parents]


def find(path: Path) -> MountPoint | None:
    """Return the topmost mount at `path`; None if there is none."""
    real = path.resolve()
    return next((each for each in reversed(read()) if each.path == real), None)


def carried(mounts: Iterable[MountPoint], top: MountPoint, path: Path) -> list[MountPoint]:
    """Return the mounts below `path`, which is on the mount `top`, that a copy of the tree contains; parents first."""
    found: list[MountPoint] = []
    parents = {top.id}
    waiting = [each for each in mounts if path in each.path.parents]
    while level := [each for each in waiting if each.parent in parents]:
        found += level
        parents = {each.id for each in level}
    return found


def _parse(mount: bytes, source: bytes) -> MountPoint:
    fields = mount.split()
    root, point = (os.fsdecode(_unescape(field)) for field in fields[3:5])
    return MountPoint(
        path=Path(point),
        root=root,
        filesystem=os.fsdecode(source.split()[0]),
        id=int(fields[0]),
        parent=int(fields[1]),
        device=fields[2].decode(),
        options=frozenset(fields[5].decode().split(",")),
        propagates=any(tag.startswith((b"shared:", b"master:")) for tag in fields[6:]),
    )


def _unescape(point: bytes) -> bytes:
    """Undo the kernel's octal escapes of white space and backslashes."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), point)
