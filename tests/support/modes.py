"""The access rights of a process's files on the host, compared with the table of modes."""

import grp
import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support import own
from vmsandbox.node.modes import KEPT, OF_SANDBOXES, Entry, FileOwner, Place

OPEN_BY_LIBVIRT = ("console.sock", "secret.sock", "lib/qemu/*", "lib/qemu/ram/*")
"""Files that libvirt makes with modes of its own, in directories that are closed to others."""


def differences(places: Mapping[Place, tuple[Path, ...]], qemu_group: str = "kvm") -> list[str]:
    """Every file and directory that another user could come by and that is not as in the table."""
    expected = {path: entry for entry in (*KEPT, *OF_SANDBOXES) for path in entry.found(places)}
    tops = [*places[Place.RUN], *places[Place.STATE], *places[Place.IMAGES], *places[Place.LIBVIRT]]
    group = grp.getgrnam(qemu_group).gr_gid
    found = [_difference(path, expected.get(path), group) for top in tops for path in _reachable(top)]
    return [difference for difference in found if difference]


def readable_by_others(*directories: Path) -> list[str]:
    """Files and directories below these that a user without any group can read, and sockets that it can dial."""
    script = (
        "import os, stat, sys\n"
        "def opens(path): return os.access(path, os.W_OK if stat.S_ISSOCK(os.lstat(path).st_mode) else os.R_OK)\n"
        "def reached(path): return os.access(os.path.dirname(path), os.X_OK)\n"
        "print('\\n'.join(p for p in sys.stdin.read().splitlines() if reached(p) and opens(p)))"
    )
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", script]
    files = [str(path) for directory in directories for path in directory.rglob("*") if not path.is_symlink()]
    ran = subprocess.run(nobody, input="\n".join(files), capture_output=True, text=True, check=True)
    return ran.stdout.split()


def _reachable(path: Path) -> Iterator[Path]:
    yield path
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o077:
        for below in path.iterdir():
            yield from _reachable(below)


def _difference(path: Path, entry: Entry | None, group: int) -> str:
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if entry is None:
        known = any(path.match(name) for name in OPEN_BY_LIBVIRT) and not mode & stat.S_IWOTH
        return "" if known else f"{path} ({mode:o}) is not in the table"
    if mode != entry.mode:
        return f"{path} has the mode {mode:o}, not {entry.mode:o}"
    if entry.place is Place.LIBVIRT:  # libvirt gives some of its directories to QEMU's user
        return ""
    theirs = own.USERS
    uids = theirs if entry.owner in (FileOwner.QEMU, FileOwner.VSOCK) else (0,)
    gids = {FileOwner.ROOT: (0,), FileOwner.QEMU_GROUP: (group,), FileOwner.QEMU: (0, group), FileOwner.VSOCK: theirs}[
        entry.owner
    ]
    whose = f"{path} is {status.st_uid}:{status.st_gid}'s"
    return "" if status.st_uid in uids and status.st_gid in gids else whose


def mode(path: Path) -> int:
    """Permissions, with set-user-id and the like."""
    return stat.S_IMODE(os.lstat(path).st_mode)
