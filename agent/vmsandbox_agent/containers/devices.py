"""Devices of the guest for containers: OCI runtime-spec `linux.devices`, and the rules of their cgroup."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import GuestDevice
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.setup import wait_for_disk
from vmsandbox_agent.syscalls import open_in_root, opened

_PROVIDED = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"}
"""The devices that every container has (OCI runtime-spec, default devices)."""

_NO_DEVICES = {"pts", "shm", "mqueue", "fd"}
"""Directories below /dev that are file systems of their own, or links."""


async def locate(wanted: Sequence[GuestDevice]) -> tuple[GuestDevice, ...]:
    """The devices with their nodes in the guest; waits for the disks among them, as long as the caller lets it."""
    return tuple([await _located(device) for device in wanted])


async def _located(device: GuestDevice) -> GuestDevice:
    return replace(device, source=str(await wait_for_disk(device.disk))) if device.disk else device


def find(wanted: Sequence[GuestDevice], root: Path) -> tuple[list[JSON], list[JSON]]:
    """The `devices` and the cgroup rules for what is wanted; a directory stands for all devices in it.

    Raises:
        AgentError: the guest has no such device.
    """
    found = [entry for device in wanted for entry in _expand(device, root)]
    return [node for node, _ in found], [rule for _, rule in found]


def everything(root: Path) -> list[GuestDevice]:
    """All devices of the guest below `root` that a container does not have anyway."""
    names = (path.relative_to(root) for path in _walk(root))
    return [GuestDevice(f"/dev/{name}", str(root / name)) for name in names if str(name) not in _PROVIDED]


def give_null_back(pid: int, owner: tuple[int, int]) -> None:
    """Make a container's /dev/null `owner`'s again: crun gives what is behind standard input to the container's user.

    Args:
        pid: of the container's first process, which has not been started yet.
        owner: uid and gid of the container's root, in the guest's numbers.

    Raises:
        OSError: the process has ended, or its /dev has no null.
    """
    with opened(Path(f"/proc/{pid}/root")) as root:
        fd = open_in_root(root, "dev/null", os.O_PATH)
    try:
        if os.fstat(fd).st_rdev == os.makedev(1, 3):
            os.chown(f"/proc/self/fd/{fd}", *owner)
    finally:
        os.close(fd)


def _expand(device: GuestDevice, root: Path) -> Iterator[tuple[JSON, JSON]]:
    source = root / device.source.removeprefix("/dev/")
    if ".." in source.parts or root not in source.parents or not source.exists():
        raise AgentError("invalid_argument", f"the guest has no device {device.source}")
    if not source.is_dir():
        yield _describe(source, device.path, device)
    for path in _walk(source) if source.is_dir() else ():
        yield _describe(path, f"{device.path.rstrip('/')}/{path.relative_to(source)}", device)


def _walk(directory: Path) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if entry.is_symlink() or entry.name in _NO_DEVICES:
            continue
        if entry.is_dir():
            yield from _walk(entry)
        elif entry.is_char_device() or entry.is_block_device():
            yield entry


def _describe(source: Path, path: str, device: GuestDevice) -> tuple[JSON, JSON]:
    status = source.stat()
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise AgentError("invalid_argument", f"{device.source} is not a device of the guest")
    number = {
        "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
    }
    mode, uid, gid = (status.st_mode & 0o777, status.st_uid, status.st_gid)
    if device.disk:
        mode, uid, gid = (device.mode, device.uid, device.gid)
    node = {**number, "path": path, "fileMode": mode, "uid": uid, "gid": gid}
    return node, {**number, "allow": True, "access": device.permissions}
