"""The directories of a sandbox, made before its machine and removed with it (docs/on-disk.md)."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import fs
from vmsandbox.process import Account, remove_tree, run
from vmsandbox.sandbox.files import mount_calls, mounts
from vmsandbox.sandbox.spec import SandboxLayout


@dataclass(frozen=True, slots=True)
class SandboxDirectories(SandboxLayout):
    """The two directories of one sandbox. Nothing is made before `make`."""

    def make(self) -> None:
        """Make both directories and the share."""
        for directory in (self.runtime, self.persistent):
            fs.make_directory(directory.parent, fs.PASSABLE)
            directory.mkdir(mode=0o700)
            fs.set_mode(directory, fs.PASSABLE)
        for directory in (self.share, self.served):
            directory.mkdir(mode=0o700)
        mounts.serve(self.share, self.served)
        make_node_directory(self.devices)

    async def make_scratch(self, size: int, owner: Account) -> None:
        """Make the scratch disk: a sparse ext4 image of `size` bytes, which nobody but its owner and root can open.

        It dies with its sandbox, so it has no journal; the host never mounts it, as the guest writes it.
        """
        with self.scratch.open("xb") as file:
            file.truncate(size)
            os.fchmod(file.fileno(), 0o600)
            os.fchown(file.fileno(), owner.uid, 0)  # libvirt changes no file's owner
        options = "lazy_itable_init=1,nodiscard,root_owner=0:0"
        features = "^has_journal,^resize_inode"
        await run(["mkfs.ext4", "-q", "-F", "-m", "0", "-O", features, "-E", options, str(self.scratch)])

    async def remove(self) -> None:
        """Unmount and remove everything, following no link. Succeeds where there is nothing.

        Raises:
            FailedPrecondition: a mount stays, and with it the files.
            VmsandboxError: as `remove_tree`.
        """
        await remove_tree(self.persistent)
        await asyncio.to_thread(mounts.unmount_below, self.runtime)
        await remove_tree(self.runtime)

    async def remove_volumes(self, container_id: str) -> None:
        """Remove the places that versions before `uses` gave one container alone. Succeeds where it has none.

        They are CONTAINER/INDEX below the share, and the mounts go with them.

        Raises:
            VmsandboxError: as `remove`.
        """
        await asyncio.to_thread(mounts.unmount_below, self.served / container_id)
        await remove_tree(self.share / container_id)


def make_node_directory(directory: Path) -> None:
    """Make the directory of the nodes of a sandbox's block volumes, before its machine; QEMU's user passes through it.

    Where the file system lets nobody open a device (nodev, as /run mostly is), one that does is mounted there.
    """
    directory.mkdir(mode=0o700)
    if os.statvfs(directory).f_flag & os.ST_NODEV:
        mount_calls.mount_memory(directory, "mode=0711,size=64k,nr_inodes=1k")
    fs.set_mode(directory, fs.PASSABLE)
