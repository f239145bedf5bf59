"""The image store: what the layers above call."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vmsandbox.config import ImagesConfig
from vmsandbox.errors import InvalidArgument
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.images.archive import FoundImage, images_in
from vmsandbox.images.disk_errors import FULL
from vmsandbox.images.oci import Reference
from vmsandbox.images.pull import Pull
from vmsandbox.images.skopeo import Skopeo, secrets_of
from vmsandbox.images.store import (
    Catalogue,
    ImageRecord,
    PullPhase,
    PullProgress,
    Report,
    RootImage,
    StoreLayout,
    StoreTransaction,
    disk_bytes,
    naming_step,
    silent,
)
from vmsandbox.model import Image, RegistryAuth
from vmsandbox.telemetry import outcome
from vmsandbox.telemetry.declared import PULL_SECONDS, PULLS


@dataclass(frozen=True, slots=True)
class Usage:
    """CRI FilesystemUsage of the image store: what it takes from its file system."""

    bytes: int
    inodes: int


def _called(image: Image, names: Sequence[Reference]) -> Image:
    """The image with these of its names before all others."""
    tags = [str(name) for name in names if name.tag]
    return replace(image, repo_tags=tuple(sorted(image.repo_tags, key=lambda tag: tag not in tags)))


def _walk(layout: StoreLayout) -> Iterator[tuple[str, list[str], list[str]]]:
    """The directories of the store and what is in them, as os.walk() does, without work under way."""
    for top, dirs, files in os.walk(layout.directory):
        if Path(top) == layout.staging:
            dirs.clear()
        yield top, dirs, files


class ImageStore:
    """Images on disk: pulled or loaded, found by their names, and as root images for machines.

    Any number of stores, in one process or several, may be open on one directory. A process that is killed at
    any moment leaves a store that is whole; what it was making is cleared away at the next opening.
    """

    def __init__(self, layout: StoreLayout) -> None:
        """Use `ImageStore.open`."""
        self._layout = layout
        self._transaction = StoreTransaction(layout)
        self._catalogue = Catalogue(layout)
        self._paths = ForeignPaths()

    @classmethod
    async def open(cls, directory: Path, settings: ImagesConfig | None = None, *, readers: int = -1) -> "ImageStore":
        """Open the store in a directory, which is made where there is none, and clear away what a crash left.

        Args:
            directory: of this store.
            settings: how images are pulled and bounded.
            readers: number of the group that reads root images besides root (QEMU's); -1: that of this process.

        Raises:
            InvalidArgument: the directory's name cannot be given to skopeo, or a pinned image's name is not valid.
            FailedPrecondition: a newer version of this program wrote the store.
            Internal: the directory cannot be made.
        """
        store = cls(StoreLayout.at(directory, settings or ImagesConfig(), readers))
        with naming_step(f"opening the image store {directory}"):
            store._layout.make()
            store._layout.index.read()
            await store._transaction.tidy()
        return store

    def configure(self, settings: ImagesConfig) -> None:
        """Use other settings from the next pull on; those of the directory and of the user need another store.

        Raises:
            InvalidArgument: a pinned image's name is not valid; nothing has changed then.
        """
        layout = replace(self._layout, settings=settings)
        self._catalogue = Catalogue(layout)
        self._layout, self._transaction = layout, StoreTransaction(layout)

    @property
    def directory(self) -> Path:
        """Where the store is."""
        return self._layout.directory

    async def pull(self, reference: str, auth: RegistryAuth | None = None, progress: Report = silent) -> Image:
        """Pull an image from its registry and make its root image; its first name is the one that was pulled.

        What is held already is not fetched again; but the registry is always asked what the name stands for,
        with this pull's own credentials. Cancelling it leaves the store as it was.

        Args:
            reference: its name, short or full, with a tag or a digest.
            auth: credentials for the registry in its name, not for mirrors.
            progress: is called with how far it is, several times a second.

        Raises:
            InvalidArgument: the name or the credentials are malformed, or the image is.
            NotFound: the registry has no such image, or none for this platform.
            PermissionDenied: the registry, or the host's image policy, refuses.
            Unavailable: the registry cannot be reached.
            DeadlineExceeded: it took longer than `pull_timeout`.
            ResourceExhausted: the disk is full, or the image is larger than allowed.
            Internal: the registry gave something else than the digests say.
        """
        name = Reference.parse(reference)
        with outcome("pull", PULLS, PULL_SECONDS):
            return await self._pull(name, auth, progress)

    async def _pull(self, name: Reference, auth: RegistryAuth | None, progress: Report) -> Image:
        async with self._transaction.adding(f"pulling {name}") as staging:
            skopeo = Skopeo(self._layout.settings, staging, secrets_of(auth))
            await self._paths.call(self._configured, lambda: skopeo.prepare(name.registry, auth))
            record = await Pull(self._layout, skopeo, staging, progress).run(name)
            return _called(self._catalogue.current(record), (name,))

    async def load(self, archive: Path, name: str = "", progress: Report = silent) -> tuple[Image, ...]:
        """Take in the images of an OCI layout (a directory or an archive) or of a docker archive.

        The names under which an image was loaded are the first of its names.

        Args:
            archive: the file or directory; it is not changed.
            name: what to call the image; empty: what the archive calls it. An image without a name has its id.
            progress: is called with how far it is.

        Raises:
            NotFound: there is no such file, or no image for this platform in it.
            InvalidArgument: it is not an archive of images, or holds several and a name is given.
            ResourceExhausted: the disk is full, or an image is larger than allowed.
            Internal: a blob is not what its digest says.
        """
        override = Reference.parse(name) if name else None
        if override and override.digest:
            raise InvalidArgument("an image is loaded under a tag, not under a digest")
        async with self._transaction.adding(f"loading {archive}") as staging:
            skopeo = Skopeo(self._layout.settings, staging)
            await self._paths.call(self._configured, skopeo.prepare)
            found = await images_in(archive, skopeo)
            if override and len(found) != 1:
                raise InvalidArgument(f"{archive} holds {len(found)} images, and only one name was given")
            named = [image.named(override) if override else image for image in found]
            records = [await self._take(image, staging, progress) for image in named]
            return tuple(
                _called(self._catalogue.current(record), image.names)
                for record, image in zip(records, named, strict=True)
            )

    @property
    def _configured(self) -> Path:
        """A file that the administrator has placed, by which messages say which file system does not answer."""
        settings = self._layout.settings
        return settings.authfile or settings.registries_conf or settings.policy or Path("/etc/containers")

    async def _take(self, image: FoundImage, staging: Path, progress: Report) -> ImageRecord:
        await asyncio.to_thread(image.give, self._layout.blobs, staging)
        progress(PullProgress(PullPhase.BUILDING))
        for name in image.names or (None,):
            record = await self._layout.admit(image.candidate, name, image.digest, staging)
        return record

    def list(self) -> tuple[Image, ...]:
        """All images; of one whose configuration is lost or damaged, what the index knows."""
        return self._catalogue.all()

    def find(self, name_or_id: str) -> Image | None:
        """The image of this id (with or without `sha256:`, or its beginning), tag or digest; None: not held.

        Raises:
            InvalidArgument: it is not a name, or the beginning of several ids.
        """
        record = self._catalogue.find(name_or_id)
        return self._catalogue.image(record) if record else None

    def inspect(self, name_or_id: str) -> Image:
        """Return an image with its configuration; see `find` for the name.

        Raises:
            NotFound: it is not held.
        """
        return self._catalogue.image(self._catalogue.record(name_or_id))

    async def remove(self, name_or_id: str) -> None:
        """Remove an image with all its names (CRI RemoveImage); does nothing where it is not held.

        A root image that is held stays until it is released; blobs that other images share stay with them.
        """
        record = self._catalogue.find(name_or_id)
        with naming_step(f"removing {name_or_id}"):
            if record:
                await self._forget(record)
                self._catalogue.forget(record.id)
            await self._transaction.tidy()

    async def _forget(self, record: ImageRecord) -> None:
        """Take an image out of the index; where the disk is too full for that, its root image makes room first."""
        try:
            await self._layout.index.update(lambda index: index.removing(record.id))
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._layout.roots.drop(record.chain_id)
            await self._layout.index.update(lambda index: index.removing(record.id))

    def freed_by(self, image_ids: Collection[str]) -> tuple[int, int]:
        """Count the bytes that removing these images frees: of layers and documents, and of root images.

        What other images share is not counted.
        """
        records = self._layout.index.read().images
        staying = [record for record in records if record.id not in image_ids]
        blobs = {blob for record in records for blob in record.blobs}
        blobs -= {blob for record in staying for blob in record.blobs}
        roots = {record.chain_id for record in records} - {record.chain_id for record in staying}
        return self._layout.blobs.occupied(tuple(blobs)), sum(map(self._layout.roots.occupied, roots))

    def usage(self) -> Usage:
        """Count the blocks and inodes that the store uses, like du(1).

        Work under way does not count: skopeo may have made a tree there that is too deep or large to be walked.
        """
        paths = [Path(top, name) for top, dirs, files in _walk(self._layout) for name in (*dirs, *files)]
        return Usage(sum(map(disk_bytes, [self._layout.directory, *paths])), len(paths) + 1)

    async def root_image(self, name_or_id: str) -> RootImage:
        """The image's root image; where it is missing or damaged, it is made again.

        It may be collected once its image is removed: use `hold` for as long as a machine needs it.

        Raises:
            NotFound: the image is not held.
        """
        with naming_step(f"the root image of {name_or_id}"):
            async with self._transaction.staging() as staging:
                return await self._layout.root(self._catalogue.record(name_or_id), staging)

    @contextlib.asynccontextmanager
    async def hold(self, name_or_id: str) -> AsyncIterator[RootImage]:
        """The image's root image, which stays until the body ends, whoever removes the image.

        The hold is this process's: after a crash the owner of the machines takes it again.

        Raises:
            NotFound: the image is not held.
        """
        async with contextlib.AsyncExitStack() as holding:
            with naming_step(f"the root image of {name_or_id}"):
                async with self._transaction.staging() as staging:
                    record = self._catalogue.record(name_or_id)
                    root = await self._layout.root(record, staging)
                    holding.enter_context(self._layout.roots.hold(root))
            yield root
        if self._layout.index.read().get(record.id) is None:
            await self._transaction.tidy()
