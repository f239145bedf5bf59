"""Disks by their serial number, without udev: the kernel announces them, sysfs describes them."""

import asyncio
import contextlib
import errno
import os
from pathlib import Path

from vmsandbox_agent import console
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.setup.plugged import appears

_SYS_SCSI = Path("/sys/class/scsi_device")
_VPD_HEADER = 4
_ATTEMPTS, _PAUSE = 30, 0.1
"""How often, and after how many seconds, a disk that is mounted is looked at again."""


def find_disk(serial: str, devices: Path = _SYS_SCSI) -> Path | None:
    """The sysfs directory of the SCSI device whose unit serial number (VPD page 0x80) is `serial`."""
    for device in devices.iterdir() if devices.is_dir() else ():
        with contextlib.suppress(OSError):
            page = (device / "device/vpd_pg80").read_bytes()
            if page[_VPD_HEADER:].strip(b" \0") == serial.encode():
                return device / "device"
    return None


def block_device(disk: Path) -> Path | None:
    """The node in /dev of a SCSI device; None while the kernel has not made it."""
    block = disk / "block"
    names = [entry.name for entry in block.iterdir()] if block.is_dir() else []
    return Path("/dev") / names[0] if names else None


async def wait_for_disk(serial: str) -> Path:
    """The node of the disk with that serial, once it is there; the caller's deadline bounds the wait."""
    try:
        return await appears(lambda: _node(serial))
    except asyncio.CancelledError:
        console.error(f"no SCSI disk has had the serial {serial!r}; disks: {', '.join(_disks())}")
        raise


def _node(serial: str) -> Path | None:
    disk = find_disk(serial)
    node = None if disk is None else block_device(disk)
    return node if node is not None and opens(node) else None


def opens(node: Path) -> bool:
    """Whether a disk can be used: the kernel shows it a moment before that, and announces it after."""
    try:
        os.close(os.open(node, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return False
        raise
    return True


def _disks() -> list[str]:
    return sorted(entry.name for entry in Path("/sys/block").iterdir())


def release_disk(serial: str) -> None:
    """Let the kernel forget the disk, after flushing it, so that the host can unplug it."""
    disk = find_disk(serial)
    if disk is not None:
        (disk / "delete").write_text("1")


async def release(serial: str) -> None:
    """Write a disk back and let the kernel forget it; succeeds where there is no such disk.

    What is mounted in a container's namespace is unmounted a moment after its last process has ended.

    Raises:
        AgentError: it stays mounted somewhere.
        OSError: it does not take what was written.
    """
    for _ in range(_ATTEMPTS):
        try:
            await asyncio.to_thread(write_back, serial)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            await asyncio.sleep(_PAUSE)
        else:
            await asyncio.to_thread(release_disk, serial)
            return
    raise AgentError("failed_precondition", f"disk {serial} is mounted in the machine")


def write_back(serial: str) -> None:
    """Have all that was written to the disk be on it, while nobody else in the guest has it mounted.

    Succeeds where there is no such disk. Raises OSError: it is mounted (EBUSY), or does not take what was written.
    """
    disk = find_disk(serial)
    node = None if disk is None else block_device(disk)
    if node is not None:
        fd = os.open(node, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def rescan(address: str) -> None:
    """Look again for the disk at a SCSI address (host:channel:target:lun) that was released, if it is there."""
    host, *rest = address.split(":")
    with contextlib.suppress(OSError):
        (Path("/sys/class/scsi_host") / f"host{host}" / "scan").write_text(" ".join(rest))


def scsi_address(serial: str) -> str | None:
    """Where the disk is: host:channel:target:lun."""
    disk = find_disk(serial)
    return None if disk is None else Path(os.path.realpath(disk)).name
