"""Volumes shared as a sandbox shares them, with a stand-in for virtiofsd and without a machine."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support import share_server
from vmsandbox.sandbox.files import mountinfo, mounts
from vmsandbox.sandbox.files.directories import SandboxDirectories
from vmsandbox.sandbox.files.host_volume import looked_at
from vmsandbox.sandbox.files.share_server import server_of
from vmsandbox.sandbox.files.shared_volumes import Served, SharedVolumes

_PLAIN = mounts.MountAccess()

Listing = Callable[[Path | str], list[str]]


@contextlib.contextmanager
def share_served(layout: SandboxDirectories) -> Iterator[Listing]:
    """A stand-in for the sandbox's virtiofsd; what it has in a directory, by its path below the share."""
    command = [sys.executable, share_server.__file__, os.fspath(layout.served)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def listed(path: Path | str) -> list[str]:
            process.stdin.write(f"/{path}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        assert json.loads(process.stdout.readline()) == "ready"
        yield listed
        process.stdin.close()


def bound(
    layout: SandboxDirectories,
    source: Path,
    container: str = "c",
    access: mounts.MountAccess = _PLAIN,
    mapping: str = "",
    *,
    deep: bool = True,
) -> Served:
    """Share `source` as a volume of a container, by a process that knows nothing of earlier ones."""
    with looked_at(source) as volume:
        return SharedVolumes(layout).serve(container, volume, access, mapping, deep=deep)


def key(layout: SandboxDirectories, place: Path) -> tuple[int, int, int]:
    """Return virtiofsd's identity of a file: file system, inode and mount."""
    with server_of(layout.share, layout.served) as server:
        fd = server.open(Path("/") / place)
        status = os.fstat(fd)
        return status.st_dev, status.st_ino, mountinfo.mount_id(fd)


def mount_at(layout: SandboxDirectories, place: Path) -> mountinfo.MountPoint:
    """The mount that a place is on."""
    at = key(layout, place)[2]
    with server_of(layout.share, layout.served) as server:
        return next(each for each in server.mounts() if each.id == at)


@contextlib.contextmanager
def inside(layout: SandboxDirectories, place: Path) -> Iterator[Path]:
    """A path of the host by which what virtiofsd has at a place can be used."""
    with server_of(layout.share, layout.served) as server:
        yield Path(f"/proc/self/fd/{server.open(Path('/') / place)}")
