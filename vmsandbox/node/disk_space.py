"""The disk space that vmsandbox takes on this host, and the part of it that nobody needs."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmsandbox.config import Config
from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs.locks import try_locked
from vmsandbox.guestimage import DEFAULT_DIRECTORY, GuestImageFiles, guest_image_files, remove_old_guest_images
from vmsandbox.images import ImageStore
from vmsandbox.model import Image
from vmsandbox.process import run

_LOOK = 300.0
"""Seconds for counting a directory that pods may have filled."""


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """One kind of files. Sizes are bytes of disk."""

    kind: str
    count: int
    active: int
    """How many of them something uses."""
    size: int
    reclaimable: int = 0
    """Bytes that `vmsandbox system prune --all` frees."""


def unused_images(config: Config, store: ImageStore, *, everything: bool) -> tuple[Image, ...]:
    """Return images that no pod of any process of this host uses, without pinned ones.

    A pod's record names its images from the moment at which its container is made.

    Args:
        config: names the state databases.
        store: of the images.
        everything: also those that have a name.

    Raises:
        FailedPrecondition: a state database cannot be read.
    """
    used = used_images(config, store)
    return tuple(
        image
        for image in store.list()
        if not image.pinned and (everything or not image.repo_tags) and image.id not in used
    )


def used_images(config: Config, store: ImageStore) -> frozenset[str]:
    """Return the ids of the images that a pod of a process of this host uses. Arguments and errors as above."""
    words = _recorded_words(config.state_directory)
    return frozenset(
        image.id
        for image in store.list()
        if not words.isdisjoint((image.id, image.id.removeprefix("sha256:"), *image.repo_tags, *image.repo_digests))
    )


async def disk_usage(config: Config, store: ImageStore) -> tuple[DiskUsage, ...]:
    """Count everything. Raises FailedPrecondition if a state database cannot be read."""
    images = store.list()
    unused = await asyncio.to_thread(unused_images, config, store, everything=True)
    blobs, roots = await asyncio.to_thread(store.freed_by, [image.id for image in images])
    free_blobs, free_roots = await asyncio.to_thread(store.freed_by, [image.id for image in unused])
    guest = await asyncio.to_thread(guest_files, config)
    state = config.state_directory
    processes = [state / "serve", *sorted((state / "run").glob("*"))]
    scratch = [path for process in processes for path in process.glob("sandboxes/*/scratch.img")]
    volumes = sorted(path.parent for path in state.glob("volumes/*/volume.json"))
    words = await asyncio.to_thread(_recorded_words, state)
    used = len(images) - len(unused)
    return (
        DiskUsage("images", len(images), used, blobs, free_blobs),
        DiskUsage("root images", len(images), used, roots, free_roots),
        DiskUsage("scratch disks", len(scratch), len(scratch), sum(map(_occupied, scratch))),
        await _counted("volumes", volumes, lambda volume: _has_volume(words, volume) or _is_held(volume / "used")),
        await _counted("volumes of pods", _of(processes, "pod"), _is_of_a_process),
        await _counted("logs", _of(processes, "logs"), _is_of_a_process),
        DiskUsage(
            "guest images",
            len(guest.images) + len(guest.bases),
            len(guest.images) + len(guest.bases) - len(guest.old_images) - len(guest.old_bases),
            guest.size,
            guest.reclaimable,
        ),
    )


def guest_files(config: Config) -> GuestImageFiles:
    """Look at the directory of guest images that this host boots from."""
    return guest_image_files(_guest_directory(config), [config.guest_image])


def remove_guest_files(config: Config) -> GuestImageFiles:
    """Remove guest images of older builds. Raises FailedPrecondition while one is built."""
    return remove_old_guest_images(_guest_directory(config), [config.guest_image])


def _guest_directory(config: Config) -> Path:
    return config.guest_image.parent if config.guest_image.name == "current" else DEFAULT_DIRECTORY


def _recorded_words(state_directory: Path) -> frozenset[str]:
    """Return every text of every record of this host's processes: names and ids of images are among them."""
    words: set[str] = set()
    for database in (state_directory / "serve" / "state.db", *state_directory.glob("run/*/state.db")):
        if database.exists():
            for body in _bodies(database):
                words.update(_texts(json.loads(body)))
    return frozenset(words)


def _bodies(database: Path) -> Sequence[str]:
    try:
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return [str(row[0]) for row in connection.execute("SELECT body FROM record")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise FailedPrecondition(
            f"{database} cannot be read, which tells what pods use: {error}", hint="nothing is removed before it can"
        ) from None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _occupied(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _of(processes: Iterable[Path], name: str) -> list[Path]:
    return [path for process in processes for path in process.glob(name)]


def _has_volume(words: Iterable[str], volume: Path) -> bool:
    """Whether a record, such as that of a container's mounts, names a directory of a volume."""
    data = str(volume / "data")
    return any(word == data or word.startswith(f"{data}/") for word in words)


def _is_of_a_process(path: Path) -> bool:
    """Whether somebody needs a process's directory: the daemon's always, since pods outlive it."""
    return path.parent.name == "serve" or _is_held(path.parent / "lock")


def _is_held(lock: Path) -> bool:
    """Whether a process holds a lock; without its file nobody does."""
    if not lock.exists():
        return False
    with try_locked(lock) as free:
        return not free


async def _counted(kind: str, directories: Sequence[Path], is_used: Callable[[Path], bool]) -> DiskUsage:
    active = sum(map(is_used, directories))
    return DiskUsage(kind, len(directories), active, sum([await _du(path) for path in directories]))


async def _du(directory: Path) -> int:
    """Bytes of disk; du(1) follows no link, and goes down as deep as a guest may have gone."""
    command = ["du", "--summarize", "--block-size=1", "--one-file-system", "--", str(directory)]
    said = await run(command, timeout=_LOOK, check=False)  # Files come and go meanwhile, an error for du.
    return int(said.stdout.split()[0]) if said.stdout else 0
