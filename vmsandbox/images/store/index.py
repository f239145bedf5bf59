"""Which images a store holds, and their names: one JSON file, replaced whole."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, Internal, InvalidArgument
from vmsandbox.fs import durable
from vmsandbox.fs.locks import locked
from vmsandbox.fs.opening import MEBIBYTE, read_regular
from vmsandbox.images.oci import Reference
from vmsandbox.protocol.codec import MalformedMessage, decode, encode

VERSION = 1
_MOST = 256 * MEBIBYTE
"""Bytes of an index; an image takes about one KiB of it."""
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image: its blobs by digest, its root image by chain id, and its names."""

    id: str
    """Digest of the configuration."""
    manifest: str
    layers: tuple[str, ...]
    chain_id: str
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()

    @property
    def blobs(self) -> tuple[str, ...]:
        """All blobs that the image needs."""
        return (self.id, self.manifest, *self.layers)


@dataclass(frozen=True, slots=True)
class Index:
    """All images, by id."""

    version: int = VERSION
    images: tuple[ImageRecord, ...] = ()

    def adding(self, record: ImageRecord) -> "Index":
        """With this image: an older record of it gives its names, any other image loses the tags it takes."""
        old = self.get(record.id)
        if old:
            record = replace(
                record,
                repo_tags=_union(old.repo_tags, record.repo_tags),
                repo_digests=_union(old.repo_digests, record.repo_digests),
            )
        others = self.removing(record.id).images
        untagged = tuple(
            replace(other, repo_tags=tuple(tag for tag in other.repo_tags if tag not in record.repo_tags))
            for other in others
        )
        return replace(self, images=(*untagged, record))

    def removing(self, image_id: str) -> "Index":
        """Without this image."""
        return replace(self, images=tuple(record for record in self.images if record.id != image_id))

    def get(self, image_id: str) -> ImageRecord | None:
        """The image of this full id."""
        return next((record for record in self.images if record.id == image_id), None)

    def find(self, name_or_id: str) -> ImageRecord | None:
        """The image of this id, tag, digest, or beginning of an id that no other image's has.

        Raises:
            InvalidArgument: it is not a name, or the beginning of several ids.
        """
        as_id = _ID.fullmatch(name_or_id)
        full_id = f"sha256:{as_id[1]}" if as_id else ""
        return self.get(full_id) or self._named(name_or_id, as_id) or self._beginning(full_id)

    def _named(self, text: str, as_id: re.Match[str] | None) -> ImageRecord | None:
        if as_id and (text.startswith("sha256:") or len(text) == 64):
            return None
        name = str(Reference.parse(text))
        return next((record for record in self.images if name in record.repo_tags + record.repo_digests), None)

    def _beginning(self, prefix: str) -> ImageRecord | None:
        found = [record for record in self.images if prefix and record.id.startswith(prefix)]
        if len(found) > 1:
            raise InvalidArgument(
                f"{len(found)} images have an id that begins with {prefix}", hint="give more characters of it"
            )
        return found[0] if found else None


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(first + second))


@dataclass(frozen=True, slots=True)
class IndexFile:
    """The index on disk; readers need no lock, writers take one."""

    path: Path

    @property
    def lock(self) -> Path:
        """The file whose lock a writer holds."""
        return self.path.with_suffix(".lock")

    def read(self) -> Index:
        """The index as it is now; empty where there is none yet.

        Raises:
            FailedPrecondition: a newer version of this program wrote it.
            Internal: it is damaged.
        """
        try:
            data = json.loads(read_regular(self.path, _MOST))
            if isinstance(data, dict) and data.get("version", VERSION) > VERSION:
                raise FailedPrecondition(f"{self.path} is of version {data['version']}; this program knows {VERSION}")
            return decode(Index, data)
        except FileNotFoundError:
            return Index()
        except (OSError, ValueError, TypeError, MalformedMessage) as error:
            raise Internal(f"{self.path} is damaged: {error}", hint="move it away and pull the images again") from None

    async def update(self, change: Callable[[Index], Index]) -> None:
        """Replace the index by what `change` makes of it; other writers wait meanwhile."""
        await asyncio.to_thread(self._update, change)

    def _update(self, change: Callable[[Index], Index]) -> None:
        with locked(self.lock):
            document = {"version": VERSION, **encode(change(self.read()))}
            durable.replace_whole(self.path, json.dumps(document, indent=1).encode())
