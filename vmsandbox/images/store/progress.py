"""How far a pull is: bytes of layers, as they can be seen on the disk."""

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vmsandbox import aio
from vmsandbox.images.oci import Descriptor
from vmsandbox.images.store.blobs import Blobs

_INTERVAL = 0.2
"""Seconds between two looks at the disk: skopeo says nothing while it writes no terminal."""

_MOST_PARTS = 64
"""Layers on their way that are looked at; skopeo fetches six at a time."""


class PullPhase(enum.Enum):
    """The steps of a pull or a load."""

    RESOLVING = "resolving"
    WAITING = "waiting"
    """For another pull of the same image to end."""
    DOWNLOADING = "downloading"
    BUILDING = "building"
    """The root image is being made of the layers."""


@dataclass(frozen=True, slots=True)
class PullProgress:
    """One report; `done` and `total` are bytes of compressed layers, 0 where none is being fetched."""

    phase: PullPhase
    done: int = 0
    total: int = 0


Report = Callable[[PullProgress], None]


def silent(_: PullProgress) -> None:
    """Report nothing."""


@contextlib.asynccontextmanager
async def watching_progress(
    blobs: Blobs, layers: Sequence[Descriptor], layout: Path, report: Report
) -> AsyncIterator[None]:
    """Report the download of layers while the body runs; layers held before count as done."""
    total = sum(layer.size for layer in set(layers))

    def look() -> int:
        whole = sum(layer.size for layer in set(layers) if blobs.holds(layer))
        return min(whole + sum(map(_size, islice(layout.glob("oci-put-blob*"), _MOST_PARTS))), total)

    async with aio.background(_watch(look, total, report)):
        yield
    report(PullProgress(PullPhase.DOWNLOADING, await asyncio.to_thread(look), total))


async def _watch(look: Callable[[], int], total: int, report: Report) -> None:
    done = 0
    while True:
        # A layer is for a moment in neither place, while it is being renamed.
        done = max(done, await asyncio.to_thread(look))
        report(PullProgress(PullPhase.DOWNLOADING, done, total))
        await asyncio.sleep(_INTERVAL)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
