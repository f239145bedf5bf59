"""The bundle that crun reads: a root and a config.json. The root is an overlay, or a directory of the host."""

import contextlib
import errno
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.protocol.codec import JSON
from vmsandbox_agent import syscalls
from vmsandbox_agent.settings import Settings


@dataclass(frozen=True, slots=True)
class Bundle:
    """The paths of a container; `layer` is on the scratch disk."""

    directory: Path
    layer: Path

    @classmethod
    def of(cls, settings: Settings, container_id: str) -> "Bundle":
        """Where the container of that id has its things."""
        return cls(settings.containers / container_id, settings.scratch / container_id)

    @property
    def root(self) -> Path:
        """The container's root directory."""
        return self.directory / "rootfs"

    @property
    def upper(self) -> Path:
        """The directory with the container's changes to its image."""
        return self.layer / "upper"

    @property
    def volumes(self) -> Path:
        """The volumes that its image declares."""
        return self.layer / "volumes"

    @property
    def null(self) -> Path:
        """The input of processes without input: the container's own /dev/null, because crun changes its owner."""
        return self.layer / "null"

    def mount_root(self, image: Path, users: Path | None = None) -> None:
        """Make the directories and mount the root over the read-only `image`.

        With the user namespace `users`, what root owns in the image is owned by root of that namespace.
        """
        upper, work = self.upper, self.layer / "work"
        self._make(self.root, upper, work)
        lower = self._map(image, users) if users else image
        _copy_mode(lower, upper)
        syscalls.mount("overlay", str(self.root), "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")

    def bind_root(self, directory: int) -> None:
        """Make the directories and mount a directory of the share, which is open, as the root.

        Set-user-id bits and device nodes count in it, as in any root; in the share itself they do not.
        """
        self._make(self.root, self.layer)
        flags = syscalls.MS_BIND | syscalls.MS_REC
        syscalls.mount(f"/proc/self/fd/{directory}", str(self.root), "", flags)
        syscalls.mount("none", str(self.root), "", syscalls.MS_BIND | syscalls.MS_REMOUNT)

    def _make(self, *directories: Path) -> None:
        for directory in directories:
            directory.mkdir(parents=True)
        os.mknod(self.null, stat.S_IFCHR, os.makedev(1, 3))
        self.null.chmod(0o666)

    @property
    def _mapped(self) -> Path:
        return self.directory / "image"

    def _map(self, image: Path, users: Path) -> Path:
        """The image once more, with its owners mapped (the upper layer holds the mapped ones)."""
        self._mapped.mkdir()
        with users.open() as namespace:
            syscalls.mount_mapped(str(image), str(self._mapped), namespace.fileno())
        return self._mapped

    def write(self, name: str, content: JSON) -> Path:
        """Write a JSON file into the bundle."""
        path = self.directory / name
        path.write_text(json.dumps(content))
        return path

    def remove(self) -> None:
        """Unmount the root and delete everything, as far as it exists.

        Raises:
            OSError: the root stays mounted: it may be a directory of the host, so nothing is deleted.
        """
        import shutil  # its compression modules are not needed at the agent's start

        for target in (self.root, self._mapped):
            with contextlib.suppress(OSError):
                syscalls.unmount(str(target), syscalls.MNT_DETACH)
        if self.root.is_mount():
            raise OSError(errno.EBUSY, "it stays mounted", str(self.root))
        for directory in (self.directory, self.layer):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(directory)


def _copy_mode(image: Path, upper: Path) -> None:
    """The root directory of an overlay has the owner and the mode of its upper layer's."""
    status = image.stat()
    os.chown(upper, status.st_uid, status.st_gid)
    upper.chmod(status.st_mode & 0o7777)
