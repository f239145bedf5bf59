"""The volumes of a pod on the host: made before its machine starts, removed with it. `mounting` mounts them.

    RUNTIME/volumes/NAME       configMap, secret, projected and downwardAPI volumes; a memory volume of the host
    RUNTIME/subpaths/NAME/N    mount of what the sub-path of a container's mount N is
    RUNTIME/messages/NAME      a container's termination message
    RUNTIME/hosts              /etc/hosts of the containers
    PERSISTENT/volumes/NAME    emptyDir volumes
    NAMED/NAME/data            volumes of claims; see `named_volumes`

Both directories are open to root alone; a guest sees a volume through a mount of its own, never by way of them.
"""

import asyncio
import errno
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vmsandbox import fs
from vmsandbox.errors import Internal, ResourceExhausted, VmsandboxError
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.pod.api import EmptyDir, HostPath, HostPathType, Medium
from vmsandbox.pod.named_volumes import NamedVolumes
from vmsandbox.pod.plan import Files, NamedVolumeUse, PodPlan
from vmsandbox.pod.run.files import VolumeOwner, write_files
from vmsandbox.process import remove_tree, run
from vmsandbox.sandbox.files import unmount_below


@dataclass(frozen=True, slots=True)
class PodDirectories:
    """The directories of one pod, made for it and removed with it.

    `runtime` (tmpfs on most hosts) is for what is secret or small, `persistent` for what may be large.
    """

    runtime: Path
    persistent: Path
    named: Path
    """The directory of the volumes that outlive pods; it stays."""

    async def remove(self) -> None:
        """Unmount and remove everything, following no link. Succeeds where there is nothing.

        Raises:
            FailedPrecondition: a mount stays, and with it the files.
            VmsandboxError: as `remove_tree`.
        """
        for directory in (self.runtime, self.persistent):
            await asyncio.to_thread(unmount_below, directory)
            await remove_tree(directory)


class PodVolumes:
    """The volumes of one pod."""

    def __init__(self, plan: PodPlan, directories: PodDirectories, *, guest_tmpfs: bool) -> None:
        """Nothing is made before `make`.

        Args:
            plan: of the pod.
            directories: where its volumes are; theirs is the removal.
            guest_tmpfs: whether memory volumes are the guest's.
        """
        self.plan = plan
        self.directories = directories
        self._owner = VolumeOwner.of(plan.spec)
        self._guest_tmpfs = guest_tmpfs
        self.paths = ForeignPaths()
        """Calls on hostPaths and on files that containers write: they may hang."""
        self._named = NamedVolumes(directories.named)
        self._used = ExitStack()

    async def make(self) -> None:
        """Make all volumes; what a killed process left in the directories goes before.

        Raises:
            InvalidArgument: the host has not what a hostPath asks for.
        FailedPrecondition: another pod uses a named volume, and one of the two wants it alone.
            DeadlineExceeded: a hostPath's file system does not answer.
            ResourceExhausted: the disk is full.
        """
        await self.directories.remove()
        try:
            for directory in (self.directories.runtime, self.directories.persistent):
                directory.mkdir(parents=True, mode=0o700)
            for name in self.plan.volumes:
                await self._make(name)
        except OSError as error:
            raise _of_the_disk(error) from error

    def close(self) -> None:
        """Let go of the named volumes, when no container has them any more."""
        self._used.close()

    def update(self, name: str, files: Files) -> None:
        """Give a configMap, secret, projected or downwardAPI volume new content, which containers see all at once."""
        write_files(self.path(name), files.files, self._owner)

    def path(self, name: str) -> Path:
        """Where a volume is that is neither the guest's memory nor an image."""
        volume = self.plan.volumes[name]
        if isinstance(volume, HostPath):
            return Path(volume.path)
        if isinstance(volume, NamedVolumeUse):
            return self._named.data(volume.name)
        on_disk = isinstance(volume, EmptyDir) and volume.medium is Medium.DEFAULT
        base = self.directories.persistent if on_disk else self.directories.runtime
        return base / "volumes" / name

    def is_in_guest(self, name: str) -> bool:
        """Memory volumes are the guest's, unless a container wants a sub-path, which only the host can open."""
        volume = self.plan.volumes[name]
        everyone = (*self.plan.spec.init_containers, *self.plan.spec.containers)
        uses = (mount for container in everyone for mount in container.volume_mounts if mount.name == name)
        plain = not any(mount.sub_path or mount.sub_path_expr for mount in uses)
        return isinstance(volume, EmptyDir) and volume.medium is Medium.MEMORY and self._guest_tmpfs and plain

    def memory_size(self, empty: EmptyDir) -> int:
        """Bytes of a memory volume: at most what the pod may use in all, as in the kubelet."""
        memory = self.plan.facts.resources.memory.whole
        return min(empty.limit or memory, memory)

    async def _make(self, name: str) -> None:
        match self.plan.volumes[name]:
            case HostPath() as host_path:
                await self.paths.call(Path(host_path.path), lambda: check_host_path(host_path))
            case Files() as files:
                self._make_directory(name, 0o755, writable=False)
                self.update(name, files)
            case NamedVolumeUse(volume, _, alone):
                prepare = partial(self._owner.take, mode=0o777, writable=True)
                self._used.enter_context(self._named.used(volume, prepare, alone=alone))
            case EmptyDir() as empty if not self.is_in_guest(name):
                await self._make_empty(name, empty)

    async def _make_empty(self, name: str, empty: EmptyDir) -> None:
        path = self._make_directory(name, 0o777, writable=True)
        if empty.medium is Medium.MEMORY:
            options = f"size={self.memory_size(empty)},nosuid,nodev"
            await run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)])
            self._owner.take(path, 0o777, writable=True)

    def _make_directory(self, name: str, mode: int, *, writable: bool) -> Path:
        path = self.path(name)
        path.mkdir(parents=True)
        self._owner.take(path, mode, writable=writable)
        return path


def _of_the_disk(error: OSError) -> VmsandboxError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(f"the pod's volumes cannot be made: {error}", hint="make room on that file system")
    return Internal(f"the pod's volumes cannot be made: {error}")


_KINDS: dict[HostPathType, tuple[str, Callable[[int], bool]]] = {
    HostPathType.DIRECTORY: ("a directory", stat.S_ISDIR),
    HostPathType.DIRECTORY_OR_CREATE: ("a directory", stat.S_ISDIR),
    HostPathType.FILE: ("a file", stat.S_ISREG),
    HostPathType.FILE_OR_CREATE: ("a file", stat.S_ISREG),
    HostPathType.SOCKET: ("a socket", stat.S_ISSOCK),
    HostPathType.CHAR_DEVICE: ("a character device", stat.S_ISCHR),
    HostPathType.BLOCK_DEVICE: ("a block device", stat.S_ISBLK),
}


def check_host_path(volume: HostPath) -> None:
    """Find that the host has what a volume asks for, or make it.

    Raises:
        InvalidArgument: it does not exist, or it cannot be made.
    """
    path = Path(volume.path)
    at = volume.at.of("path")
    try:
        if volume.type is HostPathType.DIRECTORY_OR_CREATE:
            fs.make_missing(path, 0o755)
        if volume.type is HostPathType.FILE_OR_CREATE:
            fs.touch(path, 0o644)
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise at.error(f"there is no {path} on the host", hint="type: DirectoryOrCreate makes a directory") from None
    except OSError as error:
        raise at.error(f"{path}: {error.strerror}") from None
    if volume.type is HostPathType.ANY:
        return
    name, matches = _KINDS[volume.type]
    if not matches(mode):
        raise at.error(f"{path} is not {name}")
