"""The size of a container's /dev/shm: callers mount one on the host, with the size that was asked for."""

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEFAULT_SHM = 64 * 1024 * 1024
"""Bytes where a caller does not say them, as in every container runtime."""

_MOUNTS = Path("/proc/self/mounts")


def shm_size_of(bundle: str, config: Mapping[str, Any]) -> int:
    """Return the bytes of the tmpfs that config.json binds to /dev/shm; `DEFAULT_SHM` where it binds none.

    The machine has a tmpfs of that size in its place: memory of the host is not shared with it.
    """
    mounts = config.get("mounts")
    for mount in mounts if isinstance(mounts, list) else ():
        if isinstance(mount, Mapping) and mount.get("destination") == "/dev/shm" and mount.get("type") == "bind":
            source = posixpath.join(bundle, str(mount.get("source") or ""))
            if _is_tmpfs(source):
                found = os.statvfs(source)
                return found.f_blocks * found.f_frsize or DEFAULT_SHM
    return DEFAULT_SHM


def _is_tmpfs(path: str) -> bool:
    lines = (line.split() for line in _MOUNTS.read_text(errors="replace").splitlines())
    return any(words[1:3] == [path, "tmpfs"] for words in lines)
