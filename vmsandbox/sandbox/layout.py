"""Where a sandbox keeps its files on the host (docs/on-disk.md); made and removed here."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import fs
from vmsandbox.process import Account, run
from vmsandbox.process.removal import remove_tree
from vmsandbox.sandbox import block_nodes, mounts

SHARE_TAG = "vmsandbox"
SCRATCH_SERIAL = "vmsandbox-scratch"


@dataclass(frozen=True, slots=True)
class SandboxLayout:
    """The two directories of one sandbox.

    `runtime` (tmpfs on most hosts) holds sockets and the share; `persistent` the scratch disk and log positions. The
    sandbox's users pass through both to what is theirs; nobody but root enters the share on the host.
    """

    runtime: Path
    persistent: Path

    @property
    def share(self) -> Path:
        """The directory below which the places of volumes are made: empty directories and files."""
        return self.runtime / "share"

    @property
    def served(self) -> Path:
        """The same directory as virtiofsd serves it: a read-only mount, below which volumes are mounted."""
        return self.runtime / "served"

    @property
    def uses(self) -> Path:
        """Which containers use which place: see `share_uses`."""
        return self.runtime / "uses"

    @property
    def console(self) -> Path:
        """Unix socket of the guest's console."""
        return self.runtime / "console.sock"

    @property
    def secret(self) -> Path:
        """Unix socket on which the guest is given its machine's secret."""
        return self.runtime / "secret.sock"

    @property
    def vsock(self) -> Path:
        """The directory of the vsock daemon, where there is one."""
        return self.runtime / "vsock"

    @property
    def devices(self) -> Path:
        """The directory of the nodes of raw block volumes: see `block_nodes`."""
        return self.runtime / "devices"

    @property
    def scratch(self) -> Path:
        """The disk image of the writable layers."""
        return self.persistent / "scratch.img"

    def position(self, container_id: str) -> Path:
        """Of a container's log: see `logs`."""
        return self.persistent / f"{container_id}.position"

    def make(self) -> None:
        """Make both directories and the share."""
        for directory in (self.runtime, self.persistent):
            fs.make_directory(directory.parent, fs.PASSABLE)
            directory.mkdir(mode=0o700)
            fs.set_mode(directory, fs.PASSABLE)
        for directory in (self.share, self.served):
            directory.mkdir(mode=0o700)
        mounts.serve(self.share, self.served)
        block_nodes.make_directory(self.devices)

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
