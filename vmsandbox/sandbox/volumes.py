"""What a container mounts, made ready for it: on the host below the share, in the guest's memory, or from an image."""

import asyncio
import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import aio
from vmsandbox.errors import InvalidArgument
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.guest.client import GuestClient
from vmsandbox.model import Mount, PropagationMode
from vmsandbox.protocol import paths
from vmsandbox.protocol.messages import MakeTmpfs
from vmsandbox.sandbox import mountinfo, mounts, owners
from vmsandbox.sandbox.disks import ImageDisks
from vmsandbox.sandbox.layout import SandboxLayout
from vmsandbox.sandbox.synced_volumes import SyncedVolumes

_EMPTY_DIR = re.compile(r"/pods/[^/]+/volumes/kubernetes\.io~empty-dir/([^/]+)$")
"""Where a kubelet has the emptyDir volumes of a pod."""

_SUB_PATH = re.compile(r"(/pods/[^/]+)/volume-subpaths/([^/]+)/[^/]+/[0-9]+$")
"""Where it mounts a part of a volume for one container."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the guest finds what is to be mounted."""

    path: str
    readonly: bool
    """Whether the guest has to see to it; on the host that is done already."""


def check(mount: Mount) -> None:
    """Raise InvalidArgument for a mount that cannot be made as the CRI has it (Mount)."""
    path = mount.container_path
    if not path.startswith("/"):
        raise InvalidArgument(f"the mount path {path!r} is not absolute")
    if mount.recursive_read_only and not mount.readonly:
        raise InvalidArgument(f"the mount at {path} is to be recursively read-only, but not read-only")
    if mount.recursive_read_only and mount.propagation is not PropagationMode.PRIVATE:
        raise InvalidArgument(f"the mount at {path} is to be recursively read-only, with propagation")
    if mount.image and not mount.readonly:
        raise InvalidArgument(f"the image volume at {path} has to be read-only")
    if ".." in mount.image_sub_path.split("/"):
        raise InvalidArgument(f"the path {mount.image_sub_path} leads out of the image volume at {path}")


class Volumes:
    """The volumes of one sandbox's containers; `creation.give_back` gives back what a container has acquired."""

    def __init__(
        self,
        layout: SandboxLayout,
        paths: ForeignPaths,
        client: GuestClient,
        disks: ImageDisks,
        synced: SyncedVolumes,
    ) -> None:
        """All stay the caller's."""
        self._synced = synced
        self._layout = layout
        self._paths = paths
        self._client = client
        self._disks = disks

    async def prepare(self, container_id: str, wanted: Sequence[Mount]) -> list[Source]:
        """Make the sources of a container's mounts, in their order. What fails is left to be given back.

        Raises:
            InvalidArgument: a mount that cannot be, or a source that does not exist.
            DeadlineExceeded: a source's file system does not answer.
            NotFound: the store does not hold the image of a volume.
            VmsandboxError: the host or the guest refuses.
        """
        for mount in wanted:
            check(mount)
        return [await self._prepare(container_id, index, mount) for index, mount in enumerate(wanted)]

    async def _prepare(self, container_id: str, index: int, mount: Mount) -> Source:
        if mount.image:
            return await self._image(container_id, mount)
        if mount.tmpfs:
            return await self._tmpfs(MakeTmpfs(mount.tmpfs, mount.tmpfs_size), mount)
        if kept := await self._synced.offer(mount):
            return Source(kept, readonly=True)
        found = await self._paths.call(Path(mount.host_path), lambda: _look(mount), late=_forget)
        if isinstance(found, MakeTmpfs):
            return await self._tmpfs(found, mount)
        with contextlib.closing(found):
            return await self._bind(container_id, index, mount, found)

    async def _tmpfs(self, memory: MakeTmpfs, mount: Mount) -> Source:
        await self._client.make_tmpfs(memory)
        return Source(f"{paths.TMPFS}/{memory.name}/{memory.path}".rstrip("/"), mount.readonly)

    async def _image(self, container_id: str, mount: Mount) -> Source:
        serial = await self._disks.acquire(mount.image, container_id)
        path = "/".join(part for part in mount.image_sub_path.split("/") if part not in ("", "."))
        return Source(f"{paths.IMAGES}/{serial}/{path}".rstrip("/"), readonly=True)

    async def _bind(self, container_id: str, index: int, mount: Mount, tree: mounts.Tree) -> Source:
        layout, place = self._layout, self._layout.place(container_id, index)
        follows = mount.propagation is not PropagationMode.PRIVATE
        async with owners.mapping(mount.uid_mappings, mount.gid_mappings) as mapped:
            access = mounts.Access(mount.readonly, mount.recursive_read_only, follows, mapped)
            binding = asyncio.to_thread(mounts.bind_served, tree, layout.share, layout.served, place, access)
            await aio.to_its_end(binding)
        # The guest sees one file system: where only the top of it is read-only, that is left to the host.
        all_readonly = mount.recursive_read_only or (not follows and not tree.has_mounts_below)
        return Source(f"{paths.SHARE}/{place}", mount.readonly and all_readonly)


def _look(mount: Mount) -> MakeTmpfs | mounts.Tree:
    """What stands for a path of the host in the guest; its file system may hang."""
    return _memory(mount.host_path) or mounts.copy(Path(mount.host_path))


def _forget(found: MakeTmpfs | mounts.Tree) -> None:
    if isinstance(found, mounts.Tree):
        found.close()


def _memory(host_path: str) -> MakeTmpfs | None:
    """The tmpfs of the guest that stands for a kubelet's emptyDir in memory, or for a part of one."""
    path = Path(host_path)
    if (found := _EMPTY_DIR.search(host_path)) and _is_tmpfs(path):
        return _like(path, found[1], "")
    if found := _SUB_PATH.search(host_path):
        volume = Path(host_path[: found.end(1)]) / "volumes/kubernetes.io~empty-dir" / found[2]
        if _is_tmpfs(volume) and path.is_dir():
            return _like(volume, found[2], (mountinfo.find(path) or mountinfo.MountPoint()).root)
    return None


def _is_tmpfs(path: Path) -> bool:
    mounted = mountinfo.find(path)
    return mounted is not None and mounted.filesystem == "tmpfs"


def _like(volume: Path, name: str, path: str) -> MakeTmpfs:
    """A tmpfs of the guest as large as the host's, with the same mode and group."""
    status, size = volume.stat(), os.statvfs(volume)
    mode = status.st_mode & 0o7777
    return MakeTmpfs(f"emptydir.{name}", size.f_blocks * size.f_frsize, mode, status.st_gid, path.strip("/"))
