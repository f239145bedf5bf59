"""Which mount below the share has a source in it already, and which belong below one that comes now: no I/O.

A source is known by its file system and its path in that, whatever path of the host leads to it: a bind mount, as a
kubelet makes it for a sub-path, is what it shows. That is where to look; the user of an answer opens it, and compares.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vmsandbox.sandbox.files.mountinfo import MountPoint


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a directory or a file is: on which file system (its numbers, as mountinfo has them), and where on it."""

    device: str
    path: PurePosixPath

    def below(self, mount: MountPoint) -> PurePosixPath | None:
        """Return the path from the root of `mount`, `.` for the root itself; None if `mount` does not show it."""
        if mount.device != self.device or not self.path.is_relative_to(mount.root):
            return None
        return self.path.relative_to(mount.root)


def origin_of(path: Path, mount: MountPoint) -> Origin | None:
    """The origin of what is at `path` by way of `mount`; None where it is not below it (it was removed, or moved)."""
    if not path.is_relative_to(mount.path):
        return None
    return Origin(mount.device, PurePosixPath(mount.root) / path.relative_to(mount.path))


def root_of(mount: MountPoint) -> Origin:
    """The origin of what is at the root of a mount."""
    return Origin(mount.device, PurePosixPath(mount.root))


def places_of(origin: Origin, served: Iterable[MountPoint]) -> list[Path]:
    """Where below the share `origin` should be, by what is mounted there; those that are least deep come first."""
    found = {mount.path / rest for mount in served if (rest := origin.below(mount)) is not None}
    return sorted(found, key=lambda place: (len(place.parts), place))


def belonging_below(
    carried: Sequence[tuple[PurePosixPath, Origin]], tops: Iterable[MountPoint]
) -> Iterator[tuple[MountPoint, list[PurePosixPath]]]:
    """The mounts of `tops` that a tree of mounts has a place for, each with the paths from the tree's root to it.

    Args:
        carried: the tree: of each of its mounts the path from the tree's root (`.` for the first), and its origin.
        tops: mounts elsewhere.
    """
    for top in tops:
        places = [
            path / top_path.relative_to(origin.path)
            for path, origin in carried
            if origin.device == top.device and (top_path := PurePosixPath(top.root)).is_relative_to(origin.path)
        ]
        if inner := [place for place in places if place.parts]:
            yield top, inner
