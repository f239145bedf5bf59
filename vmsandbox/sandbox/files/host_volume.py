"""A volume's path on the host, looked at once: what it is, where it comes from, and a copy of its mounts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vmsandbox.sandbox.files import mountinfo, mounts
from vmsandbox.sandbox.files.mountinfo import MountPoint
from vmsandbox.sandbox.files.origins import Origin, origin_of, root_of


@dataclass(frozen=True, slots=True)
class HostVolume:
    """A directory or a file of the host, as it was when it was looked at."""

    tree: mounts.MountTree
    status: os.stat_result
    path: Path
    """Without links."""
    mount: MountPoint
    """The mount that contains the source."""
    nested: tuple[MountPoint, ...]
    """The mounts below the source, parents first."""

    @property
    def origin(self) -> Origin | None:
        """Where it comes from; None where that cannot be told."""
        return origin_of(self.path, self.mount)

    @property
    def mounts(self) -> dict[PurePosixPath, MountPoint]:
        """The mount itself (`.`) and those below it, by the path from its root."""
        return {PurePosixPath(): self.mount} | {self.place(each): each for each in self.nested}

    @property
    def origins(self) -> list[tuple[PurePosixPath, Origin]]:
        """The same, by where they come from."""
        own = [(PurePosixPath(), self.origin)] if self.origin else []
        return [*own, *((self.place(each), root_of(each)) for each in self.nested)]

    def place(self, nested: MountPoint) -> PurePosixPath:
        """Where a mount below it is, from its root."""
        return PurePosixPath(nested.path.relative_to(self.path))


@contextmanager
def looked_at(source: Path) -> Iterator[HostVolume]:
    """Look at a path of the host, following links; its file system may hang.

    Raises:
        InvalidArgument: there is nothing.
        FailedPrecondition: its file system, or the kernel, refuses.
    """
    fd = mounts.open_path(source)
    try:
        path, at = Path(f"/proc/self/fd/{fd}"), mountinfo.mount_id(fd)
        real, table = path.readlink(), mountinfo.read()
        mount = next((each for each in table if each.id == at), MountPoint())
        nested = tuple(mountinfo.carried(table, mount, real))
        tree = mounts.copy_tree(path, source)
        try:
            yield HostVolume(tree, os.fstat(fd), real, mount, nested)
        finally:
            tree.close()
    finally:
        os.close(fd)
