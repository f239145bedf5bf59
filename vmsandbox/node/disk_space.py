"""The disk space that vmsandbox takes on this host, and the part of it that nobody needs."""

import asyncio
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmsandbox.config import Config
from vmsandbox.errors import FailedPrecondition
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
    words = _recorded_words(config.state_directory)
    return tuple(
        image
        for image in store.list()
        if not image.pinned
        and (everything or not image.repo_tags)
        and words.isdisjoint((image.id, image.id.removeprefix("sha256:"), *image.repo_tags, *image.repo_digests))
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
    used = len(images) - len(unused)
    return (
        DiskUsage("images", len(images), used, blobs, free_blobs),
        DiskUsage("root images", len(images), used, roots, free_roots),
        DiskUsage("scratch disks", len(scratch), len(scratch), sum(map(_occupied, scratch))),
        await _counted("volumes", volumes),
        await _counted("volumes of pods", [path for process in processes for path in process.glob("pod")]),
        await _counted("logs", [path for process in processes for path in process.glob("logs")]),
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


async def _counted(kind: str, directories: Iterable[Path]) -> DiskUsage:
    found = list(directories)
    return DiskUsage(kind, len(found), len(found), sum([await _du(path) for path in found]))


async def _du(directory: Path) -> int:
    """Bytes of disk; du(1) follows no link, and goes down as deep as a guest may have gone."""
    command = ["du", "--summarize", "--block-size=1", "--one-file-system", "--", str(directory)]
    said = await run(command, timeout=_LOOK, check=False)  # Files come and go meanwhile, an error for du.
    return int(said.stdout.split()[0]) if said.stdout else 0
