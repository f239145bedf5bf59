"""Guest images of older builds, and base layers that no image shares: what may be removed of a directory."""

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.guestimage.manifest import MANIFEST
from vmsandbox.guestimage.store import locked


@dataclass(frozen=True, slots=True)
class GuestImageFiles:
    """The directories below a directory of guest images; sizes are bytes of disk, shared files counted once."""

    images: tuple[Path, ...]
    bases: tuple[Path, ...]
    """Base layers, and the kernels that were compiled for them."""
    old_images: tuple[Path, ...]
    """Images that are not `current`, and that no running machine has open."""
    old_bases: tuple[Path, ...]
    """Base layers that share no file with an image that stays: a build of their kind makes them again."""
    size: int
    reclaimable: int
    """Bytes that removing all old ones frees."""


def look(directory: Path, kept: Collection[Path] = ()) -> GuestImageFiles:
    """Look at a directory of guest images.

    Args:
        directory: see `store`; it need not exist.
        kept: images that stay besides `current`, such as the configured one.
    """
    images = tuple(sorted(path.parent for path in directory.glob(f"*/{MANIFEST}") if not path.parent.is_symlink()))
    layers = (*directory.glob("base/*"), *directory.glob("kernel/*"))
    bases = tuple(sorted(path for path in layers if path.is_dir() and path.name[0] != "."))
    stay = {path.resolve() for path in (directory / "current", *kept)}
    used = _open_names()
    old = tuple(path for path in images if path.resolve() not in stay and path.name not in used)
    shared = {inode for path in images if path not in old for inode in _inodes(path)}
    old_bases = tuple(path for path in bases if shared.isdisjoint(_inodes(path)))
    return GuestImageFiles(
        images=images,
        bases=bases,
        old_images=old,
        old_bases=old_bases,
        size=_freed((*images, *bases)),
        reclaimable=_freed((*old, *old_bases)),
    )


def remove_old(directory: Path, kept: Collection[Path] = ()) -> GuestImageFiles:
    """Remove all old ones; return how it was before. A machine that starts now has `current`, which stays.

    Raises:
        FailedPrecondition: a build or an import of a guest image runs there.
    """
    with locked(directory):
        found = look(directory, kept)
        for path in (*found.old_images, *found.old_bases):
            shutil.rmtree(path)
    return found


def _open_names() -> frozenset[str]:
    """Return the names of all directories that hold a file which any process has open."""
    names: set[str] = set()
    for process in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):  # It has just ended.
            for entry in process.iterdir():
                with contextlib.suppress(OSError):
                    names.add(entry.readlink().parent.name)
    return frozenset(names)


def _files(directory: Path) -> Iterable[os.stat_result]:
    for top, _, names in os.walk(directory):
        for name in names:
            yield Path(top, name).lstat()


def _inodes(directory: Path) -> set[tuple[int, int]]:
    return {(status.st_dev, status.st_ino) for status in _files(directory) if status.st_size}


def _freed(directories: Iterable[Path]) -> int:
    """Return the bytes that removing these directories frees: files whose every link is in them."""
    links: Counter[tuple[int, int]] = Counter()
    found: dict[tuple[int, int], os.stat_result] = {}
    for directory in directories:
        for status in _files(directory):
            links[status.st_dev, status.st_ino] += 1
            found[status.st_dev, status.st_ino] = status
    return sum(status.st_blocks * 512 for inode, status in found.items() if links[inode] >= status.st_nlink)
