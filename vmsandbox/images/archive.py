"""Images from files: an OCI layout, a directory or an archive of one, and what `docker save` writes."""

import asyncio
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedReader
from lzma import LZMAError
from pathlib import Path
from typing import Any

from vmsandbox.config import ImagesConfig
from vmsandbox.errors import InvalidArgument, NotFound, ResourceExhausted
from vmsandbox.fs.opening import regular_file
from vmsandbox.images.oci import (
    IndexEntry,
    Platform,
    Reference,
    check_digest,
    checked,
    choose_manifest,
    is_index,
    load_json,
    parse_index,
    parse_manifest,
    texts,
)
from vmsandbox.images.skopeo import Skopeo
from vmsandbox.images.store import Blobs, Candidate, read_bounded

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_OCI_MEMBER = re.compile(r"(?:\./)?(oci-layout|index\.json|manifest\.json|blobs/sha256/[0-9a-f]{64})")
_MAX_IMAGES = 256
_MAX_EXTENSION = 64 << 10
_MAX_HEADERS = 8 << 20
"""Bytes of one extended header, and of all headers of an archive; one of images has some hundred members."""
_SPARSE = "the archive has a sparse file, which an archive of images does not have"
_EXTENSIONS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image in an archive: its documents, where its blobs are, and what the archive calls it."""

    candidate: Candidate
    blobs: Path
    """A directory with one file for each blob, named by the digest without `sha256:`."""
    moved: bool
    """Whether the blobs may be moved away; else they are the user's, and are copied."""
    names: tuple[Reference, ...]
    digest: str = ""
    """The digest of the image in the archive; empty if the format has no manifest."""

    def named(self, name: Reference) -> "FoundImage":
        """The same image under this name alone."""
        return replace(self, names=(name,))

    def give(self, store: Blobs, staging: Path) -> None:
        """Hand the layers to a store, each checked against its digest.

        Raises:
            InvalidArgument: one is missing.
            Internal: one is damaged.
        """
        for layer in self.candidate.manifest.layers:
            source = self.blobs / layer.digest.removeprefix("sha256:")
            store.adopt(source, layer, staging, moved=self.moved)


async def images_in(archive: Path, skopeo: Skopeo) -> tuple[FoundImage, ...]:
    """The images in an archive or a directory, for our platform where it holds them for several.

    Raises:
        NotFound: there is no such file, or it has nothing for our platform.
        InvalidArgument: it is neither an OCI layout nor a docker archive, or is damaged.
    """
    unpacked = skopeo.directory / "oci"
    archive = Path.cwd() / archive
    found = await asyncio.to_thread(_oci_images, archive, unpacked, skopeo.settings)
    if found is None:
        return await _docker_images(archive, _manifest_list(unpacked / "manifest.json", archive), skopeo)
    return found


def _oci_images(archive: Path, unpacked: Path, settings: ImagesConfig) -> tuple[FoundImage, ...] | None:
    """The images of an OCI layout or an archive of one; None: it is not an archive. Newer docker archives are both."""
    if archive.is_dir():
        return tuple(_layout(archive, settings, moved=False))
    _unpack(archive, unpacked, settings.max_root_size)
    return tuple(_layout(unpacked, settings, moved=True)) if (unpacked / "index.json").exists() else None


def _unpack(archive: Path, directory: Path, limit: int) -> None:
    """Unpack the files of an OCI layout, and nothing else: no member's name is used but those known."""
    (directory / "blobs/sha256").mkdir(parents=True)
    try:
        with _opened(archive) as file, tarfile.open(fileobj=file, tarinfo=_bounded_headers()) as tar:
            for member in tar:
                known = _OCI_MEMBER.fullmatch(member.name)
                if known and member.isreg():
                    limit -= member.size
                    _copy_member(tar, member, directory / known[1], limit)
    except (tarfile.TarError, EOFError, zlib.error, LZMAError, RecursionError) as error:
        raise InvalidArgument(f"{archive} is not an archive, or is damaged: {error}") from None


def _opened(archive: Path) -> BufferedReader:
    try:
        return regular_file(archive, follow=True)
    except FileNotFoundError:
        raise NotFound(f"there is no archive {archive}") from None
    except OSError as error:
        raise InvalidArgument(f"{archive} cannot be read: {error.strerror}") from None


def _bounded_headers() -> type[tarfile.TarInfo]:
    """A class for the headers of one archive: `tarfile` alone takes headers of any size and number into memory.

    The same goes for maps of sparse files, which no program that makes images writes (its methods are `tarfile`'s own).
    """
    left = _MAX_HEADERS

    class Header(tarfile.TarInfo):
        def _proc_member(self, archive: tarfile.TarFile) -> "Header":
            """Look at a header before what belongs to it is read. (`frombuf` is not called by every version.)"""
            nonlocal left
            extension = self.size if self.type in _EXTENSIONS else 0
            left -= tarfile.BLOCKSIZE + max(extension, 0)
            if left < 0 or extension > _MAX_EXTENSION:
                raise ResourceExhausted("the archive's headers are larger than those of an archive of images are")
            member: Header = super()._proc_member(archive)  # type: ignore[misc]
            return member

        def _proc_sparse(self, _: tarfile.TarFile) -> "Header":
            raise InvalidArgument(_SPARSE)

        def _proc_gnusparse_10(self, *_: object) -> None:
            raise InvalidArgument(_SPARSE)

    return Header


def _copy_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, left: int) -> None:
    if left < 0:
        raise ResourceExhausted("the archive is larger than an image may be")
    source = tar.extractfile(member)
    if source:
        with source, path.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)


def _layout(directory: Path, settings: ImagesConfig, *, moved: bool) -> Iterator[FoundImage]:
    """The images of an OCI layout (OCI image-spec, image-layout.md)."""
    try:
        entries = parse_index(read_bounded(directory / "index.json"))
    except FileNotFoundError:
        raise InvalidArgument(f"{directory} is not an OCI layout: it has no index.json") from None
    blobs = directory / "blobs/sha256"
    for entry in entries[:_MAX_IMAGES]:
        candidate = _candidate(entry, blobs, settings)
        yield FoundImage(candidate, blobs, moved, _names(entry), entry.descriptor.digest)


def _candidate(entry: IndexEntry, blobs: Path, settings: ImagesConfig) -> Candidate:
    raw = _document(blobs, entry.descriptor.digest)
    if is_index(raw):
        chosen = choose_manifest(parse_index(raw), Platform.of_host(), "the archive's index")
        raw = _document(blobs, chosen.digest)
    return Candidate.read(
        raw, _document(blobs, parse_manifest(raw).config.digest), Platform.of_host(), settings.max_root_size
    )


def _document(blobs: Path, digest: str) -> bytes:
    try:
        return check_digest(read_bounded(blobs / digest.removeprefix("sha256:")), digest, "a document of the archive")
    except FileNotFoundError:
        raise InvalidArgument(f"the archive lacks {digest}", hint="save the image again") from None


def _names(entry: IndexEntry) -> tuple[Reference, ...]:
    """The image's full name, where the archive says it; a bare word there is a tag without a repository."""
    for key in _NAMES:
        name = entry.annotations.get(key)
        if isinstance(name, str) and ("/" in name or ":" in name):
            return (Reference.parse(name),)
    return ()


def _manifest_list(path: Path, archive: Path) -> list[Any]:
    """The images of a docker archive, as its manifest.json lists them."""
    if not path.exists():
        raise InvalidArgument(
            f"{archive} is not an archive of images",
            hint="make one with `docker save` or `skopeo copy … oci-archive:FILE`",
        )
    raw = read_bounded(path)
    return checked(load_json(b'{"images":' + raw + b"}", "manifest.json")["images"], list, "manifest.json")[
        :_MAX_IMAGES
    ]


async def _docker_images(archive: Path, entries: list[Any], skopeo: Skopeo) -> tuple[FoundImage, ...]:
    found = []
    copy = await asyncio.to_thread(skopeo.workspace.copy_archive, archive)
    for number, entry in enumerate(entries):
        names = texts(checked(entry, dict, "an image of manifest.json"), "RepoTags", "manifest.json")
        directory = await skopeo.unpack_docker_archive(copy, number)
        raw = read_bounded(directory / "manifest.json")
        config = parse_manifest(raw).config.digest
        candidate = Candidate.read(raw, _document(directory, config), Platform.of_host(), skopeo.settings.max_root_size)
        found.append(FoundImage(candidate, directory, True, tuple(map(Reference.parse, names))))
    return tuple(found)
