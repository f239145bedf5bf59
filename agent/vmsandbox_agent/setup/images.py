"""Root images: read-only file systems on SCSI disks that the host plugs in and out."""

import asyncio
import errno
import os
from pathlib import Path

from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.setup import disks
from vmsandbox_agent.syscalls import MS_NODEV, MS_RDONLY, mount, unmount

_FILESYSTEMS = ("squashfs", "erofs")


class Images:
    """The attached images, each mounted at `directory`/SERIAL."""

    def __init__(self, directory: Path) -> None:
        """Begin without any."""
        self._directory = directory
        self._released: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def attach(self, serial: str, filesystem: str) -> None:
        """Wait for the disk and mount it; succeeds when that is done already.

        Raises:
            AgentError: the file system is not one that images have.
            OSError: the disk holds no such file system.
        """
        if filesystem not in _FILESYSTEMS:
            raise AgentError("invalid_argument", f"an image is {' or '.join(_FILESYSTEMS)}, not {filesystem!r}")
        target = self._directory / serial
        if serial in self._released:
            disks.rescan(self._released.pop(serial))
        node = await disks.wait_for_disk(serial)
        async with self._lock:
            _mount(node, target, filesystem)

    async def detach(self, serial: str) -> None:
        """Unmount the image and let its disk go; succeeds when that is done already.

        Raises:
            AgentError: a container uses it.
        """
        target = self._directory / serial
        async with self._lock:
            _unmount(target, serial)
            if (address := disks.scsi_address(serial)) is not None:
                self._released[serial] = address
                await asyncio.to_thread(disks.release_disk, serial)


def _mount(node: Path, target: Path, filesystem: str) -> None:
    if not os.path.ismount(target):
        target.mkdir(exist_ok=True)
        mount(str(node), str(target), filesystem, MS_RDONLY | MS_NODEV)


def _unmount(target: Path, serial: str) -> None:
    try:
        if os.path.ismount(target):
            unmount(str(target))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise AgentError("failed_precondition", f"image {serial} is in use") from None
        raise
    if target.is_dir():
        target.rmdir()
