"""The parts of an image store on disk, and the admission of an image to it."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import fs
from vmsandbox.config import ImagesConfig
from vmsandbox.errors import InvalidArgument, NotFound, ResourceExhausted
from vmsandbox.images.oci import (
    ImageManifest,
    Malformed,
    ParsedConfig,
    Platform,
    Reference,
    check_digest,
    digest_of,
    parse_config,
    parse_manifest,
    runs_on,
)
from vmsandbox.images.rootfs import Arrival, Layer, RootLimit, at_once
from vmsandbox.images.store.blobs import Blobs
from vmsandbox.images.store.index import ImageRecord, IndexFile
from vmsandbox.images.store.roots import RootImage, Roots


def check_layers_fit(manifest: ImageManifest, most: int) -> None:
    """Raise ResourceExhausted where the layers, compressed, are larger than `most` bytes, by the manifest's word."""
    if sum(layer.size for layer in manifest.layers) > most:
        raise ResourceExhausted(
            f"the image's layers are larger than {most} bytes",
            hint="raise the limit of an image's size in the configuration",
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that may become one of the store's: its documents, read and checked against each other."""

    manifest_raw: bytes
    config_raw: bytes
    manifest: ImageManifest
    config: ParsedConfig

    @classmethod
    def read(cls, manifest_raw: bytes, config_raw: bytes, platform: Platform, most: int) -> "Candidate":
        """Read the documents.

        Args:
            manifest_raw: the image's manifest.
            config_raw: its configuration.
            platform: of the guests.
            most: bytes that its files may have together, unpacked.

        Raises:
            Malformed: they are not an image, or not of one image.
            NotFound: the image is for another platform.
            ResourceExhausted: its layers are larger than a root may be, even compressed.
        """
        manifest, config = parse_manifest(manifest_raw), parse_config(config_raw)
        check_digest(config_raw, manifest.config.digest, "the image's configuration")
        if len(manifest.layers) != len(config.diff_ids):
            raise Malformed(f"the image has {len(manifest.layers)} layers and {len(config.diff_ids)} diff_ids")
        if config.platform and not runs_on(config.platform, platform):
            raise NotFound(f"the image is for {str(config.platform)[:60]}, not for {platform}")
        check_layers_fit(manifest, most)
        return cls(manifest_raw, config_raw, manifest, config)

    def record(self, name: Reference | None, digest: str) -> ImageRecord:
        """Return the image in the form of the index.

        Args:
            name: by which it is known; None: by its id alone.
            digest: by which the repository of that name knows it; empty where none does.
        """
        return ImageRecord(
            id=self.manifest.config.digest,
            manifest=digest_of(self.manifest_raw),
            layers=tuple(layer.digest for layer in self.manifest.layers),
            chain_id=self.config.chain_id,
            repo_tags=(str(name),) if name and name.tag else (),
            repo_digests=(str(name.with_digest(digest)),) if name and digest else (),
        )


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """The store's directory (docs/on-disk.md, "Images")."""

    directory: Path
    settings: ImagesConfig
    readers: int = -1
    """Number of the group that reads root images; -1: that of this process."""

    @classmethod
    def at(cls, directory: Path, settings: ImagesConfig, readers: int = -1) -> "StoreLayout":
        """The store in a directory.

        Raises:
            InvalidArgument: the directory's name cannot be given to skopeo.
        """
        absolute = Path.cwd() / directory
        if ":" in str(absolute):
            raise InvalidArgument(f"the image store's directory {absolute} has a colon in its name")
        return cls(absolute, settings, readers)

    @property
    def blobs(self) -> Blobs:
        """Manifests, configurations and layers."""
        return Blobs(self.directory / "blobs")

    @property
    def roots(self) -> Roots:
        """Root images."""
        limit = RootLimit(size=self.settings.max_root_size, memory=self.settings.max_root_memory)
        directory, own = self.directory / "roots", self.settings
        return Roots(directory, self.locks, limit, own.user, self.readers, own.pull_timeout)

    @property
    def index(self) -> IndexFile:
        """The images and their names."""
        return IndexFile(self.directory / "index.json")

    @property
    def locks(self) -> Path:
        """One lock file for each thing that is being made."""
        return self.directory / "locks"

    @property
    def staging(self) -> Path:
        """One directory for each pull or load under way."""
        return self.directory / "staging"

    @property
    def store_lock(self) -> Path:
        """The lock of the store: shared for processes that add, exclusive for one that removes unused files."""
        return self.directory / "store.lock"

    def make(self) -> None:
        """Make the directories.

        QEMU's user can open root images and skopeo's its own directories in `staging`; nobody but root can list them.
        """
        fs.make_missing(self.directory, fs.PASSABLE)  # One that exists may be the administrator's, and shared.
        for passable in (self.roots.directory, self.staging):
            fs.make_directory(passable, fs.PASSABLE)
        for private in (self.blobs.directory, self.blobs.directory / "sha256", self.locks):
            fs.make_directory(private, 0o700)

    async def admit(
        self, candidate: Candidate, name: Reference | None, digest: str, staging: Path, arrival: Arrival = at_once
    ) -> ImageRecord:
        """Make an image one of the store's: root image first, the index last, when all its layers are held.

        Raises:
            VmsandboxError: the root image cannot be made of its layers; nothing has changed.
            Exception: what `arrival` raises, likewise.
        """
        record = candidate.record(name, digest)
        self.blobs.put(candidate.manifest_raw, record.manifest)
        self.blobs.put(candidate.config_raw, record.id)
        await self.root(record, staging, arrival)
        for layer in record.layers:  # of which the root image may have been there
            await arrival(self.blobs.path(layer))
        await self.index.update(lambda index: index.adding(record))
        return record

    async def root(self, record: ImageRecord, staging: Path, arrival: Arrival = at_once) -> RootImage:
        """The image's root image, made where it is missing."""
        config = await asyncio.to_thread(self.config, record)
        layers = await asyncio.to_thread(self._layers, record, config)
        return await self.roots.ensure(record.chain_id, layers, staging, arrival)

    def config(self, record: ImageRecord) -> ParsedConfig:
        """The image's configuration."""
        return parse_config(self.blobs.read(record.id))

    def _layers(self, record: ImageRecord, config: ParsedConfig) -> tuple[Layer, ...]:
        paths = [self.blobs.path(digest) for digest in record.layers]
        return tuple(Layer(path, diff_id) for path, diff_id in zip(paths, config.diff_ids, strict=True))
