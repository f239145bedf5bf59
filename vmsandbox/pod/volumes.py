"""The volumes of a pod on the host: made before its machine starts, mounted in its containers, removed with it.

    RUNTIME/volumes/NAME       configMap, secret, projected and downwardAPI volumes; a memory volume of the host
    RUNTIME/subpaths/NAME/N    mount of what the sub-path of a container's mount N is
    RUNTIME/hosts              /etc/hosts of the containers
    PERSISTENT/volumes/NAME    emptyDir volumes

Both directories are open to root alone; a guest sees a volume through a mount of its own, never by way of them.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import Mount, PropagationMode
from vmsandbox.pod.api.container import Container
from vmsandbox.pod.api.volumes import (
    EmptyDir,
    HostPath,
    ImageVolume,
    Medium,
    Propagation,
    RecursiveReadOnly,
    VolumeMount,
)
from vmsandbox.pod.expansion import expand, unknown_names
from vmsandbox.pod.files import write_files
from vmsandbox.pod.host_paths import check_host_path
from vmsandbox.pod.plan import PodPlan
from vmsandbox.pod.subpath import open_below
from vmsandbox.pod.volume_plan import Files
from vmsandbox.process import run
from vmsandbox.sandbox import mounts

_PROPAGATION = {
    Propagation.NONE: PropagationMode.PRIVATE,
    Propagation.HOST_TO_CONTAINER: PropagationMode.HOST_TO_CONTAINER,
    Propagation.BIDIRECTIONAL: PropagationMode.BIDIRECTIONAL,
}


@dataclass(frozen=True, slots=True)
class PodDirectories:
    """The two directories of one pod; neither exists before, nor afterwards.

    `runtime` (tmpfs on most hosts) is for what is secret or small, `persistent` for what may be large.
    """

    runtime: Path
    persistent: Path


class PodVolumes:
    """The volumes of one pod."""

    def __init__(self, plan: PodPlan, directories: PodDirectories, *, guest_tmpfs: bool) -> None:
        """Nothing is made before `make`.

        Args:
            plan: of the pod.
            directories: where its volumes are.
            guest_tmpfs: whether memory volumes are the guest's.
        """
        self._plan = plan
        self._directories = directories
        self._group = plan.spec.security_context.fs_group
        self._guest_tmpfs = guest_tmpfs

    async def make(self) -> None:
        """Make all volumes.

        Raises:
            InvalidArgument: the host has not what a hostPath asks for.
        """
        for directory in (self._directories.runtime, self._directories.persistent):
            directory.mkdir(parents=True, mode=0o700)
        for name in self._plan.volumes:
            await self._make(name)

    async def remove(self) -> None:
        """Unmount and remove everything, following no link. Succeeds where there is nothing."""
        for directory in (self._directories.runtime, self._directories.persistent):
            mounts.unmount_below(directory)
            if directory.exists():  # rm(1) goes down as deep as a guest may have gone; Python's rmtree does not
                await run(["rm", "-rf", "--one-file-system", "--", str(directory)], timeout=600)

    def mounts(
        self, container: Container, environment: Mapping[str, str], images: Mapping[str, str]
    ) -> tuple[Mount, ...]:
        """What is mounted in a container, in the order of its volumeMounts.

        Args:
            container: of the pod.
            environment: its variables, for subPathExpr.
            images: ids of the images of image volumes, by the names that the pod has for them.

        Raises:
            InvalidArgument: a sub-path leads out of its volume, or is not there.
        """
        self._remove_subpaths(container)
        made = (self._mount(container, index, environment, images) for index in range(len(container.volume_mounts)))
        return tuple(made)

    def hosts(self, text: str) -> Mount:
        """The mount of an /etc/hosts with this content; the containers of the pod share it."""
        path = self._directories.runtime / "hosts"
        path.write_text(text)
        path.chmod(0o644)
        return Mount("/etc/hosts", host_path=str(path))

    def update(self, name: str, files: Files) -> None:
        """Give a configMap, secret, projected or downwardAPI volume new content, which containers see all at once."""
        write_files(self._path(name), files.files, self._group)

    async def _make(self, name: str) -> None:
        match self._plan.volumes[name]:
            case HostPath() as host_path:
                check_host_path(host_path)
            case Files() as files:
                self._make_directory(name, 0o755)
                self.update(name, files)
            case EmptyDir() as empty:
                await self._make_empty(name, empty)

    async def _make_empty(self, name: str, empty: EmptyDir) -> None:
        if self._is_in_guest(name):
            return
        path = self._make_directory(name, 0o777)
        if empty.medium is Medium.MEMORY:
            options = f"size={self._size(empty)},nosuid,nodev"
            await run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)])
            self._own(path, 0o777)

    def _make_directory(self, name: str, mode: int) -> Path:
        path = self._path(name)
        path.mkdir(parents=True)
        self._own(path, mode)
        return path

    def _own(self, path: Path, mode: int) -> None:
        """As the kubelet gives a volume to fsGroup; chown first, as it takes set-group-id away."""
        if self._group is not None:
            os.chown(path, -1, self._group)
            mode |= stat.S_ISGID | 0o770
        path.chmod(mode)

    def _mount(
        self, container: Container, index: int, environment: Mapping[str, str], images: Mapping[str, str]
    ) -> Mount:
        mount = container.volume_mounts[index]
        volume = self._plan.volumes[mount.name]
        sub_path = _sub_path(mount, environment)
        common = Mount(
            mount.mount_path,
            readonly=mount.read_only or isinstance(volume, (Files, ImageVolume)),
            recursive_read_only=mount.recursive_read_only is not RecursiveReadOnly.DISABLED,
            propagation=_PROPAGATION[mount.mount_propagation],
        )
        if isinstance(volume, ImageVolume):
            image = images.get(volume.reference, volume.reference)
            return replace(common, image=image, user_specified_image=volume.reference, image_sub_path=sub_path)
        if isinstance(volume, EmptyDir) and self._is_in_guest(mount.name):
            return replace(common, tmpfs=mount.name, tmpfs_size=self._size(volume))
        root = Path(volume.path) if isinstance(volume, HostPath) else self._path(mount.name)
        path = self._open(container, index, root, sub_path) if sub_path else root
        return replace(common, host_path=str(path))

    def _open(self, container: Container, index: int, root: Path, sub_path: str) -> Path:
        """A mount of what the sub-path is now, whatever a container makes of the path later."""
        mount = container.volume_mounts[index]
        target = self._subpaths(container) / str(index)
        writable = not isinstance(self._plan.volumes[mount.name], Files)
        try:
            opened = open_below(root, sub_path, create=writable)
        except InvalidArgument as error:
            raise mount.at.of("subPath").error(error.message) from None
        try:
            access = mounts.Access(readonly=mount.read_only or not writable)
            mounts.bind(Path(f"/proc/self/fd/{opened}"), target, access)
        finally:
            os.close(opened)
        return target

    def _remove_subpaths(self, container: Container) -> None:
        """Those of the attempt before."""
        mounts.unmount_below(self._subpaths(container))
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._subpaths(container))

    def _is_in_guest(self, name: str) -> bool:
        """Memory volumes are the guest's, unless a container wants a sub-path, which only the host can open."""
        volume = self._plan.volumes[name]
        everyone = (*self._plan.spec.init_containers, *self._plan.spec.containers)
        uses = (mount for container in everyone for mount in container.volume_mounts if mount.name == name)
        plain = not any(mount.sub_path or mount.sub_path_expr for mount in uses)
        return isinstance(volume, EmptyDir) and volume.medium is Medium.MEMORY and self._guest_tmpfs and plain

    def _size(self, empty: EmptyDir) -> int:
        """Bytes of a memory volume: at most what the pod may use in all, as the kubelet has it."""
        memory = self._plan.subject.resources.memory.whole
        return min(empty.size_limit.whole, memory) if empty.size_limit else memory

    def _path(self, name: str) -> Path:
        volume = self._plan.volumes[name]
        on_disk = isinstance(volume, EmptyDir) and volume.medium is Medium.DEFAULT
        base = self._directories.persistent if on_disk else self._directories.runtime
        return base / "volumes" / name

    def _subpaths(self, container: Container) -> Path:
        return self._directories.runtime / "subpaths" / container.name


def _sub_path(mount: VolumeMount, environment: Mapping[str, str]) -> str:
    if not mount.sub_path_expr:
        return mount.sub_path
    at = mount.at.of("subPathExpr")
    if unknown := unknown_names(mount.sub_path_expr, environment):
        raise at.error(f"there is no variable {unknown[0][:80]!r}")
    path = expand(mount.sub_path_expr, environment)
    if path.startswith("/") or ".." in path.split("/"):
        raise at.error(f"{path[:80]!r} is no path below the volume")
    return path
