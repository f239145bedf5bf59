"""Prepares a container's mounts: on the host below the share, in the guest's memory, or from an image."""

import contextlib
import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.guest import GuestClient
from vmsandbox.model import Mount, PropagationMode
from vmsandbox.protocol import paths
from vmsandbox.protocol.messages import MakeTmpfs
from vmsandbox.sandbox.files import idmap, mountinfo, mounts
from vmsandbox.sandbox.files.host_volume import looked_at
from vmsandbox.sandbox.files.image_disks import ImageDisks
from vmsandbox.sandbox.files.shared_volumes import SharedVolumes
from vmsandbox.sandbox.files.synced_volumes import SyncedVolumes
from vmsandbox.sandbox.spec import MountSource

_EMPTY_DIR = re.compile(r"/pods/[^/]+/volumes/kubernetes\.io~empty-dir/([^/]+)$")
"""Where a kubelet has the emptyDir volumes of a pod."""

_SUB_PATH = re.compile(r"(/pods/[^/]+)/volume-subpaths/([^/]+)/[^/]+/[0-9]+$")
"""Where it mounts a part of a volume for one container."""


class Volumes:
    """The volumes of one sandbox's containers; `container_factory.give_back` gives back what one has acquired."""

    def __init__(
        self,
        shared: SharedVolumes,
        paths: ForeignPaths,
        client: GuestClient,
        disks: ImageDisks,
        synced: SyncedVolumes,
        *,
        deep: bool = True,
    ) -> None:
        """All stay the caller's.

        Args:
            shared: the volumes of the host.
            paths: the calls on their paths.
            client: of the guest.
            disks: the images of image volumes.
            synced: the volumes of the host that the guest keeps.
            deep: whether the agent follows no link below a volume (protocol version 2).
        """
        self._shared = shared
        self._synced = synced
        self._paths = paths
        self._client = client
        self._disks = disks
        self._deep = deep

    async def prepare(self, container_id: str, wanted: Sequence[Mount]) -> list[MountSource]:
        """Make the sources of a container's mounts, in their order. What fails is left to be given back.

        Raises:
            InvalidArgument: a source does not exist.
            DeadlineExceeded: a source's file system does not answer.
            NotFound: the store does not hold the image of a volume.
            VmsandboxError: the host or the guest refuses.
        """
        sources: dict[int, MountSource] = {}
        for index in await self._parents_first(wanted):
            sources[index] = await self._prepare(container_id, wanted[index])
        return [sources[index] for index in range(len(wanted))]

    async def _parents_first(self, wanted: Sequence[Mount]) -> list[int]:
        """The indices of mounts, so that no volume has to be moved below one of the same container."""
        depths = dict.fromkeys(range(len(wanted)), 0)
        host = [index for index in depths if wanted[index].host_path and not wanted[index].tmpfs]
        for index in host if len(host) > 1 else ():
            path = Path(wanted[index].host_path)
            depths[index] = await self._paths.call(path, functools.partial(_depth, path))
        return sorted(depths, key=depths.__getitem__)

    async def _prepare(self, container_id: str, mount: Mount) -> MountSource:
        if mount.image:
            return await self._image(container_id, mount)
        if mount.tmpfs:
            return await self._tmpfs(MakeTmpfs(mount.tmpfs, mount.tmpfs_size), mount)
        if kept := await self._synced.offer(mount):
            return MountSource(kept, readonly=True)
        async with idmap.mapping(mount.uid_mappings, mount.gid_mappings) as mapped:
            found = await self._paths.call(
                Path(mount.host_path),
                lambda: _memory(mount.host_path) or self._serve(container_id, mount, mapped),
                late=lambda _: self._shared.release(container_id),
            )
        return await self._tmpfs(found, mount) if isinstance(found, MakeTmpfs) else found

    async def _tmpfs(self, memory: MakeTmpfs, mount: Mount) -> MountSource:
        await self._client.make_tmpfs(memory)
        return MountSource(f"{paths.TMPFS}/{memory.name}/{memory.path}".rstrip("/"), mount.readonly)

    async def _image(self, container_id: str, mount: Mount) -> MountSource:
        serial = await self._disks.acquire(mount.image, container_id)
        path = "/".join(part for part in mount.image_sub_path.split("/") if part not in ("", "."))
        return MountSource(f"{paths.IMAGES}/{serial}/{path}".rstrip("/"), readonly=True)

    def _serve(self, container_id: str, mount: Mount, mapped: int | None) -> MountSource:
        """Have a path of the host below the share; its file system may hang, for longer than the caller waits."""
        follows = mount.propagation is not PropagationMode.PRIVATE
        name = idmap.name_of(mount.uid_mappings, mount.gid_mappings)
        with contextlib.ExitStack() as stack:
            if mapped is not None:
                mapped = os.dup(mapped)
                stack.callback(os.close, mapped)
            volume = stack.enter_context(looked_at(Path(mount.host_path)))
            access = mounts.MountAccess(mount.readonly, mount.recursive_read_only, follows, mapped)
            served = self._shared.serve(container_id, volume, access, name, deep=self._deep)
        writable = tuple(str(path) for path in served.writable) if self._deep else ()
        return MountSource(f"{paths.SHARE}/{served.place}", served.readonly, writable)


def _depth(path: Path) -> int:
    """How deep a path of the host is in its file system, whose paths alone can be compared."""
    with looked_at(path) as volume:
        return len(volume.origin.path.parts) if volume.origin else 0


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
