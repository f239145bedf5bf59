"""A libvirt inside this process: its directory and configuration, and what it needs of the process.

A process has one, opened once and for good: libvirt (9.0) registers its driver anew at every opening, and has room for
twenty.
"""

import asyncio
import contextlib
import mmap
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from vmsandbox import aio, fs
from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.reaper import reaping

QEMU_USER = "libvirt-qemu"
QEMU_GROUP = "kvm"

_CONFIGURATION = f"""\
# Written by vmsandbox; changes are lost.
user = "{QEMU_USER}"
group = "{QEMU_GROUP}"
# The distributions' AppArmor and SELinux rules know the directories of the system's libvirt, not of this one.
security_driver = "none"
seccomp_sandbox = 1
# QEMU sees a /dev of its own.
namespaces = [ "mount" ]
# Sizing a machine is enough here; the hierarchy belongs to whoever runs this process.
cgroup_controllers = [ ]
# A core file would hold what pods keep secret. Libvirt 11 raises the limit by itself, or fails where it may not.
max_core = 0
# There is no virtlogd.
stdio_handler = "file"
"""


LOG_LIMIT = 1024 * 1024
"""Bytes of a machine's log, which a guest may have something to say in."""
_LOOK_AT_LOGS = 5.0
"""Seconds; virtlogd would do it at once."""

_opened: dict[Path, "libvirt.virConnect"] = {}
_opening = threading.Lock()


@contextlib.asynccontextmanager
async def prepared(root: Path) -> AsyncIterator[None]:
    """Have a libvirt's directory at `root`, which is kept; reap its daemons, and cut its logs, while the context lasts.

    QEMU's user passes through it to its own files. The logs of machines that ended earlier are removed.

    Raises:
        FailedPrecondition: this process has an embedded libvirt elsewhere, or QEMU, its child, could not run.
    """
    if other := _opened.keys() - {root}:
        raise FailedPrecondition(
            f"this process has an embedded libvirt at {other.pop()}, and cannot have one at {root}"
        )
    _check_written_code()
    _make(root)
    with reaping():
        async with aio.attendant(_keep_cutting(root), f"logs of {root}"):
            yield


def connection(root: Path) -> "libvirt.virConnect":
    """The connection to the libvirt at `root`, shared by all who ask, and never closed. Raises libvirt's errors."""
    with _opening:
        if root not in _opened:
            _opened[root] = libvirt.open(f"qemu:///embed?root={quote(str(root))}")
        return _opened[root]


def _check_written_code() -> None:
    """Look whether this process, and so QEMU, may write the code that it executes, as emulation does."""
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except PermissionError:
        raise FailedPrecondition(
            "this process may not execute memory that it writes, and neither could a QEMU that it starts",
            hint="with the systemd unit, an embedded libvirt needs the drop-in packaging/systemd/embedded-libvirt.conf",
        ) from None


def _make(root: Path) -> None:
    fs.make_missing(root, fs.PASSABLE)  # One that exists may be the administrator's, and shared.
    for passable in (root / "lib", root / "lib/qemu"):  # to the machine's own directory: sockets, a key
        fs.make_directory(passable, fs.PASSABLE)
    for private in ("etc", "cache", "log", "run"):
        fs.make_directory(root / private, 0o700)
    (root / "etc/qemu.conf").write_text(_CONFIGURATION)
    for log in _logs(root):
        log.unlink()


async def _keep_cutting(root: Path) -> None:
    while True:
        await asyncio.sleep(_LOOK_AT_LOGS)
        cut_logs(root)


def cut_logs(root: Path) -> None:
    """Empty the logs that are too long. Their writers append, so they go on at the beginning."""
    for log in _logs(root):
        with contextlib.suppress(OSError):  # E.g. it has gone. The others are to be cut all the same, and soon again.
            if log.stat().st_size > LOG_LIMIT:
                os.truncate(log, 0)


def _logs(root: Path) -> list[Path]:
    return list((root / "log/qemu").glob("*.log"))
