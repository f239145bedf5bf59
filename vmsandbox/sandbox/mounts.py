"""Bind mounts on the host, made with mount(2) itself; teardown follows no link.

A volume of a container is a bind mount below the sandbox's share, which is a shared mount, so that mounts made while
the machine runs propagate to virtiofsd and appear in the guest.
"""

import ctypes
import os
import re
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, InvalidArgument

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 2, 4, 32, 4096, 16384
_MS_PRIVATE, _MS_SHARED = 1 << 18, 1 << 20
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8

_libc = ctypes.CDLL(None, use_errno=True)


def make_shared(directory: Path) -> None:
    """Make a directory a shared mount point of its own (mount_namespaces(7)); mounts below it propagate."""
    _mount(str(directory), directory, _MS_BIND)
    _mount("none", directory, _MS_PRIVATE)
    _mount("none", directory, _MS_SHARED)


def bind(source: Path, target: Path, *, readonly: bool) -> None:
    """Mount `source`, a directory or a file, at `target`, which is made; the caller owns the mount.

    The guest's root acts as root on what is mounted, so set-user-id bits and device nodes in it have no meaning on
    the host (nosuid, nodev), and read-only is the host's to enforce.

    Raises:
        InvalidArgument: the source does not exist.
        FailedPrecondition: the kernel refuses the mount.
    """
    if not source.exists():
        raise InvalidArgument(f"the volume's path {source} does not exist on the host")
    if source.is_dir():
        target.mkdir(parents=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(str(source), target, _MS_BIND | _MS_REC)
    flags = _MS_NOSUID | _MS_NODEV | (_MS_RDONLY if readonly else 0)
    _mount("none", target, _MS_BIND | _MS_REMOUNT | flags)


def unmount_below(directory: Path) -> None:
    """Detach every mount at and below `directory`, the latest first. Does nothing where there are none.

    Raises:
        FailedPrecondition: a mount stays; nothing below `directory` may be removed then.
    """
    for target in reversed(mounts_below(directory)):
        if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
            raise FailedPrecondition(f"cannot unmount {target}: {os.strerror(ctypes.get_errno())}")


def mounts_below(directory: Path) -> list[Path]:
    """The mount points at and below `directory`, in the order in which they were made (proc(5) mountinfo)."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_bytes().splitlines())
    paths = (Path(os.fsdecode(_unescape(point))) for point in points)
    return [path for path in paths if path == directory or directory in path.parents]


def _unescape(point: bytes) -> bytes:
    """Undo the kernel's octal escapes of white space and backslashes."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), point)


def _mount(source: str, target: Path, flags: int) -> None:
    if _libc.mount(source.encode(), os.fsencode(target), None, ctypes.c_ulong(flags), None) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise FailedPrecondition(f"cannot mount {source} at {target}: {reason}", hint="run as root")
