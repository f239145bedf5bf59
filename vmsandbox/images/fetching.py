"""The layers of one pull on their way: skopeo fetches them, and the store takes in each one that is whole.

A layer is checked while the next ones are being fetched, by another user's program that runs. So the layer is first
moved out of that program's directory, and then looked at (`Blobs.adopt`): whatever the program does, it has neither a
name nor a descriptor by which the content that was checked can be changed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vmsandbox import aio
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.fs.watching import Watcher
from vmsandbox.images.oci import Descriptor, Reference
from vmsandbox.images.skopeo import Skopeo
from vmsandbox.images.store import Blobs, Report, watching_progress
from vmsandbox.telemetry.declared import PULL_BYTES


@dataclass(frozen=True, slots=True)
class LayerFetch:
    """The layers of one manifest, from its registry into the store's blobs."""

    held: Blobs
    skopeo: Skopeo
    staging: Path
    """The pull's own directory, beside skopeo's workspace in it."""
    layers: Sequence[Descriptor]
    report: Report
    _news: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Something has a new name in skopeo's directory of blobs."""
    _taken: asyncio.Condition = field(default_factory=asyncio.Condition, init=False)

    async def arrived(self, path: Path) -> None:
        """Wait until a layer is held, in its full size: an `Arrival`. It waits for ever where `run` fails."""
        layer = next(each for each in self.layers if self.held.path(each.digest) == path)
        async with self._taken:
            await self._taken.wait_for(lambda: self.held.holds(layer))

    async def run(self, manifest: Reference) -> None:
        """Fetch the layers that are missing. Those that came whole are kept though others do not come.

        Raises:
            VmsandboxError: as `Skopeo.copy_blobs` and `Blobs.adopt`.
        """
        missing = {layer.digest: layer for layer in self.layers if not self.held.holds(layer)}
        if missing:
            fetched = sum(layer.size for layer in missing.values())
            await self._fetch(manifest, missing)
            PULL_BYTES.add(amount=fetched)

    async def _fetch(self, manifest: Reference, missing: dict[str, Descriptor]) -> None:
        work = self.skopeo.workspace
        work.pretend({layer.digest: layer for layer in self.layers if layer.digest not in missing}.values())
        copy = self.skopeo.copy_blobs(manifest, max(layer.size for layer in self.layers))
        async with (
            self._watched(work.blobs),
            watching_progress(work.blobs, self.layers, work.layout, self.report),
            aio.background(copy) as copying,
        ):
            copying.add_done_callback(lambda _: self._news.set())
            ended = False
            while not ended:
                await self._news.wait()
                self._news.clear()
                ended = copying.done()
                await self._take(missing, [each for each in missing.values() if work.blobs.holds(each)])
            copying.result()
        await self._take(missing, tuple(missing.values()))

    @contextlib.asynccontextmanager
    async def _watched(self, blobs: Blobs) -> AsyncIterator[None]:
        watcher = Watcher()
        watch = await watcher.watch(blobs.path(""), lambda _: self._news.set(), ForeignPaths())
        try:
            yield
        finally:
            watcher.end(watch)

    async def _take(self, missing: dict[str, Descriptor], layers: Sequence[Descriptor]) -> None:
        """Take in layers, or raise what is wrong with one."""
        for layer in layers:
            await asyncio.to_thread(self._adopt, layer)
            del missing[layer.digest]
            async with self._taken:
                self._taken.notify_all()

    def _adopt(self, layer: Descriptor) -> None:
        work, taken = self.skopeo.workspace, self.staging / layer.digest.removeprefix("sha256:")
        with contextlib.suppress(FileNotFoundError, FileExistsError):  # `adopt` says that it is missing
            work.blobs.path(layer.digest).rename(taken)
            work.pretend([layer])
        self.held.adopt(taken, layer, self.staging, moved=True)
