"""The disk usage of directories (CRI FilesystemUsage)."""

import os
import time
from pathlib import Path

from cri_api.v1 import api_pb2 as api


def usage(directory: Path) -> api.FilesystemUsage:
    """Bytes and inodes that a directory's content occupies, counted anew; files that vanish meanwhile do not count."""
    used = inodes = 0
    for path in (directory, *directory.rglob("*")):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        used += status.st_blocks * 512
        inodes += 1
    return filesystem_usage(directory, used, inodes)


def filesystem_usage(directory: Path, used: int, inodes: int) -> api.FilesystemUsage:
    """Convert a count, with the mount point of the directory's file system; the kubelet needs it to find the size."""
    return api.FilesystemUsage(
        timestamp=time.time_ns(),
        fs_id=api.FilesystemIdentifier(mountpoint=str(mount_point(directory))),
        used_bytes=api.UInt64Value(value=used),
        inodes_used=api.UInt64Value(value=inodes),
    )


def mount_point(directory: Path) -> Path:
    """Where the file system that holds the directory, or will hold it once it is made, is mounted."""
    path = directory.resolve()
    while not os.path.ismount(path):
        path = path.parent
    return path
