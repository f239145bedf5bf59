"""A guest image as one file, for hosts that have no mirror of Debian: a tar under zstd, its manifest first.

The manifest has the sha256 of every other file, so an archive that was cut short or changed is found. It does not say
who made it: import only an archive from somebody whom you trust.
"""

import contextlib
import hashlib
import re
import tarfile
from pathlib import Path
from typing import IO

import zstandard

from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound
from vmsandbox.guestimage.manifest import (
    FILES,
    MANIFEST,
    BuiltImage,
    GuestImageManifest,
    checksums,
    load_image,
    parse_manifest,
)
from vmsandbox.guestimage.store import locked, make_current, new_directory

_LEVEL = 12
_MAX_MANIFEST = 1 << 20
_MAX_FILE = 1 << 30
_PIECE = 1 << 20
_KEY = re.compile(r"[0-9a-f]{16}")


def export_image(image: BuiltImage, target: IO[bytes]) -> None:
    """Write an image; the same image gives the same bytes.

    Raises:
        OSError: it cannot be read or written.
    """
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with (
        compressor.stream_writer(target, closefd=False) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in (MANIFEST, *FILES):
            with (image.directory / name).open("rb") as file:
                member = tarfile.TarInfo(name)
                member.size, member.mode = (image.directory / name).stat().st_size, 0o644
                archive.addfile(member, file)


def import_image(source: IO[bytes], output: Path) -> BuiltImage:
    """Take an image into `output`, whole or not at all, and make it `current`.

    What is there already is left alone, since machines may run from it.

    Raises:
        InvalidArgument: the archive is not an image, or not what its manifest says.
        FailedPrecondition: another build or import runs in `output`.
        OSError: the disk does not take it.
    """
    with locked(output):
        try:
            with (
                zstandard.ZstdDecompressor().stream_reader(source) as plain,
                tarfile.open(fileobj=plain, mode="r|") as archive,
            ):
                image = _take(archive, output)
        except (tarfile.TarError, zstandard.ZstdError, EOFError, ValueError) as error:
            raise InvalidArgument(f"it is not an archive of a guest image, or not a whole one: {error}") from None
        return make_current(image)


def _take(archive: tarfile.TarFile, output: Path) -> BuiltImage:
    manifest_text = _member(archive, MANIFEST, _MAX_MANIFEST).read()
    manifest = parse_manifest(manifest_text)
    if not _KEY.fullmatch(manifest.key):
        raise ValueError(f"{manifest.key!r} is not the name of an image")
    final = output / manifest.key
    if present := _present(final, manifest):
        return present
    with new_directory(final) as building:
        for name in FILES:
            _copy(_member(archive, name, _MAX_FILE), building / name, manifest)
        if archive.next() is not None:
            raise ValueError("there is more in it than an image")
        (building / MANIFEST).write_bytes(manifest_text)
    return load_image(final)


def _present(directory: Path, manifest: GuestImageManifest) -> BuiltImage | None:
    with contextlib.suppress(NotFound, FailedPrecondition):
        image = load_image(directory)
        if image.manifest == manifest and checksums(directory) == manifest.files:
            return image
    return None


def _member(archive: tarfile.TarFile, name: str, most: int) -> IO[bytes]:
    member = archive.next()
    if member is None or member.name != name or not member.isreg():
        raise ValueError(f"{member.name if member else 'its end'} is where {name} should be")
    if member.size > most:
        raise ValueError(f"{name} is larger than {most} bytes")
    content = archive.extractfile(member)
    assert content is not None
    return content


def _copy(content: IO[bytes], target: Path, manifest: GuestImageManifest) -> None:
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while piece := content.read(_PIECE):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != manifest.files[target.name]:
        raise ValueError(f"{target.name} does not have the sha256 that {MANIFEST} says")
