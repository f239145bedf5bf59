"""What is mounted where, as this process sees it (proc(5), mountinfo)."""

import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A line of proc(5) mountinfo."""

    path: Path = Path("/")
    root: str = "/"
    """What of the file system is mounted."""
    filesystem: str = ""


def mounts_below(directory: Path) -> list[Path]:
    """The mount points at and below `directory`, in the order in which they were made."""
    return [each.path for each in _mount_points() if each.path == directory or directory in each.path.parents]


def has_mounts_below(path: Path) -> bool:
    """Whether anything is mounted below `path` (not at it), where its links lead."""
    real = path.resolve()
    return any(real in each.path.parents for each in _mount_points())


def find(path: Path) -> MountPoint | None:
    """What is mounted at `path`, last; None where nothing is."""
    real = path.resolve()
    return next((each for each in reversed(_mount_points()) if each.path == real), None)


def _mount_points() -> list[MountPoint]:
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return [_parse(*line.split(b" - ", 1)) for line in lines]


def _parse(mount: bytes, source: bytes) -> MountPoint:
    fields = mount.split()
    root, point = (os.fsdecode(_unescape(field)) for field in fields[3:5])
    return MountPoint(Path(point), root, os.fsdecode(source.split()[0]))


def _unescape(point: bytes) -> bytes:
    """Undo the kernel's octal escapes of white space and backslashes."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), point)
