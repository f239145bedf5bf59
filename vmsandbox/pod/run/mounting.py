"""The mounts of a pod's containers, as CRI mounts."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vmsandbox.errors import InvalidArgument
from vmsandbox.fs.opening import regular_file
from vmsandbox.model import ContainerStatus, Image, Mount
from vmsandbox.pod.api import Container, EmptyDir, ImageVolume, MessagePolicy
from vmsandbox.pod.plan import Files, PodFacts, hosts_file, mount_of, sub_path_of
from vmsandbox.pod.run.subpath import copy_below
from vmsandbox.pod.run.volumes import PodVolumes
from vmsandbox.process import remove_tree
from vmsandbox.sandbox.files import MountAccess, MountTree, bind_tree, unmount_below

_MESSAGE_PATH = "/dev/termination-log"
_LONGEST_MESSAGE = 4096


@dataclass(frozen=True, slots=True)
class PodMounts:
    """Mounts for the containers of one pod; what it makes on the host goes with the pod's directories."""

    volumes: PodVolumes
    facts: PodFacts
    """The pod, with its addresses."""
    images: Mapping[str, Image]
    """Images by their names in the pod."""

    async def of(self, container: Container, environment: Mapping[str, str]) -> tuple[Mount, ...]:
        """The mounts of one attempt at running a container: its volumes in their order, then the pod's files.

        Args:
            container: of the pod; the attempt before it has ended.
            environment: its variables, for subPathExpr.

        Raises:
            InvalidArgument: a sub-path leads out of its volume, or is not there.
            DeadlineExceeded: the file system of a sub-path does not answer.
        """
        await self._remove_subpaths(container)
        indexes = range(len(container.volume_mounts))
        volumes = [await self._mount(container, index, environment) for index in indexes]
        taken = {mount.container_path.rstrip("/") for mount in volumes}
        own = (*self._hosts(), *self._message(container))
        return (*volumes, *(mount for mount in own if mount.container_path not in taken))

    def with_message(self, container: Container, status: ContainerStatus, tail: str) -> ContainerStatus:
        """The status of a container that has ended, with its termination message, where it asks for one."""
        if not _has_message(container) or status.message:
            return status
        with regular_file(self._message_file(container)) as file:
            message = file.read(_LONGEST_MESSAGE).decode(errors="replace")
        by_log = container.termination_message_policy is MessagePolicy.FALLBACK_TO_LOGS_ON_ERROR
        if not message and by_log and status.exit_code:
            message = tail
        return replace(status, message=message)

    async def _mount(self, container: Container, index: int, environment: Mapping[str, str]) -> Mount:
        mount = container.volume_mounts[index]
        volume = self.volumes.plan.volumes[mount.name]
        sub_path = sub_path_of(mount, environment)
        common = mount_of(mount, volume)
        if isinstance(volume, ImageVolume):
            name = volume.reference
            return replace(common, image=self.images[name].id, user_specified_image=name, image_sub_path=sub_path)
        if isinstance(volume, EmptyDir) and self.volumes.is_in_guest(mount.name):
            return replace(common, tmpfs=mount.name, tmpfs_size=self.volumes.memory_size(volume))
        root = self.volumes.path(mount.name)
        path = await self._bound(container, index, root, sub_path) if sub_path else root
        return replace(common, host_path=str(path))

    async def _bound(self, container: Container, index: int, root: Path, sub_path: str) -> Path:
        """A mount of what the sub-path is now, whatever a container makes of the path later."""
        mount = container.volume_mounts[index]
        target = self._subpaths(container) / str(index)
        writable = not isinstance(self.volumes.plan.volumes[mount.name], Files)

        def copied() -> MountTree:
            return copy_below(root, sub_path, create=writable)

        try:
            tree = await self.volumes.paths.call(root, copied, late=MountTree.close)
        except InvalidArgument as error:
            raise mount.at.of("subPathExpr" if mount.sub_path_expr else "subPath").error(error.message) from None
        with contextlib.closing(tree):
            bind_tree(tree, target, MountAccess(follows=True))
        return target

    def _hosts(self) -> tuple[Mount, ...]:
        """/etc/hosts, where the one that every pod has is not enough; the containers share the file."""
        text = hosts_file(self.facts)
        if not text:
            return ()
        path = self.volumes.directories.runtime / "hosts"
        if not path.exists():
            path.write_text(text)
            path.chmod(0o644)
        return (Mount("/etc/hosts", host_path=str(path)),)

    def _message(self, container: Container) -> tuple[Mount, ...]:
        """The file for the termination message, empty for every attempt."""
        if not _has_message(container):
            return ()
        path = self._message_file(container)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        path.chmod(0o666)
        return (Mount(container.termination_message_path or _MESSAGE_PATH, host_path=str(path)),)

    def _message_file(self, container: Container) -> Path:
        return self.volumes.directories.runtime / "messages" / container.name

    async def _remove_subpaths(self, container: Container) -> None:
        """Remove the sub-paths of the previous attempt."""
        unmount_below(self._subpaths(container))
        await remove_tree(self._subpaths(container))

    def _subpaths(self, container: Container) -> Path:
        return self.volumes.directories.runtime / "subpaths" / container.name


def _has_message(container: Container) -> bool:
    return bool(container.termination_message_path or container.termination_message_policy)
