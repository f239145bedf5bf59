"""The frame of all work on a store: a directory, a deadline, errors that name the step, and tidying up."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import fs
from vmsandbox.errors import DeadlineExceeded, Unavailable, VmsandboxError
from vmsandbox.fs.locks import locked, locked_async, try_locked
from vmsandbox.images.disk_errors import error_of_disk
from vmsandbox.images.store.layout import StoreLayout
from vmsandbox.process import remove_tree, remove_tree_blocking


@contextlib.contextmanager
def naming_step(what: str) -> Iterator[None]:
    """Errors of the body name the step; what the disk answered is translated.

    Raises:
        ResourceExhausted: the disk is full.
        Internal: it cannot be used.
    """
    try:
        yield
    except VmsandboxError as error:
        raise error.at(what) from None
    except OSError as error:
        raise error_of_disk(error).at(what) from error


async def _remove(staging: Path) -> None:
    """Remove a directory of work, which is mostly empty; what cannot be removed, the next tidying tries again."""
    if not _removed_empty(staging):
        with contextlib.suppress(VmsandboxError):
            await remove_tree(staging)


def _removed_empty(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class StoreTransaction:
    """Work on one store."""

    layout: StoreLayout

    @contextlib.asynccontextmanager
    async def adding(self, what: str) -> AsyncIterator[Path]:
        """For a pull or a load: a directory of one's own, and afterwards the removal of what came to nothing.

        Layers that were fetched whole before the registry went away are kept for the next try.

        Raises:
            DeadlineExceeded: the body took longer than `pull_timeout`.
        """
        with naming_step(what):
            try:
                async with self.staging() as staging, self._deadline():
                    yield staging
            except (Unavailable, DeadlineExceeded):
                raise
            except BaseException:
                await self.tidy()
                raise
            await self.tidy()

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        seconds = self.layout.settings.pull_timeout
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise DeadlineExceeded(
                f"it took longer than {seconds:g} s", hint="fetched layers are kept for a while; try again"
            ) from None

    @contextlib.asynccontextmanager
    async def staging(self) -> AsyncIterator[Path]:
        """A directory of one's own; until it goes, nothing in the store is collected.

        Programs of another user find it by its name alone, which they are told: nobody can list the names.
        """
        async with locked_async(self.layout.store_lock, shared=True):
            staging = Path(tempfile.mkdtemp(dir=self.layout.staging))
            try:
                fs.set_mode(staging, fs.PASSABLE)
                yield staging
            finally:
                await _remove(staging)

    async def tidy(self) -> None:
        """Remove all that no image needs, unless another process is adding: that one tidies up at the end."""
        await asyncio.to_thread(self._tidy)

    def _tidy(self) -> None:
        with try_locked(self.layout.store_lock) as alone:
            if alone:
                collect(self.layout)


def collect(layout: StoreLayout) -> None:
    """Clear the store of all that its index does not name; root images that are held stay.

    The caller holds the store's lock alone: nobody is adding to it.
    """
    with locked(layout.index.lock):
        images = layout.index.read().images
        _collect_blobs(layout, frozenset(blob for record in images for blob in record.blobs))
        layout.roots.collect(frozenset(record.chain_id for record in images))
        for path in layout.staging.iterdir():
            remove_tree_blocking(path)  # what skopeo has made may be nested deeper than Python's own can go
        for path in [*layout.locks.iterdir(), *layout.directory.glob(".tmp*")]:
            path.unlink()


def _collect_blobs(layout: StoreLayout, used: frozenset[str]) -> None:
    kept = {layout.blobs.path(digest) for digest in used}
    for path in (layout.blobs.directory / "sha256").iterdir():
        if path not in kept:
            path.unlink()
