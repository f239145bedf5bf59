"""Manifests and indexes, OCI and docker (OCI image-spec manifest.md and image-index.md; docker schema 2)."""

from dataclasses import dataclass
from typing import Any

from vmsandbox.errors import NotFound, Unimplemented
from vmsandbox.images.oci.documents import Malformed, checked, digest, load_json, member
from vmsandbox.images.oci.platform import Platform

MAX_LAYERS = 512
MAX_BLOB = 1 << 40
"""Bytes; a size beyond it is a lie."""

CONFIG_TYPES = frozenset({"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"})
_INDEX_TYPES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)
_LAYER_TYPES = frozenset(
    [f"application/vnd.oci.image.layer.v1.tar{end}" for end in ("", "+gzip", "+zstd")]
    + [f"application/vnd.oci.image.layer.nondistributable.v1.tar{end}" for end in ("", "+gzip", "+zstd")]
    + [f"application/vnd.docker.image.rootfs.diff.tar{end}" for end in ("", ".gzip", ".zstd")]
    + ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"]
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """OCI descriptor: what a piece of content is, its digest and its size in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """The parts of one image for one platform; layers from the lowest up."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """All that the manifest names."""
        return (self.config, *self.layers)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One manifest of an index; `platform` is None where the index does not say, `annotations` may name it."""

    descriptor: Descriptor
    platform: Platform | None
    annotations: dict[str, Any]

    @property
    def is_index(self) -> bool:
        """Whether it is an index in turn."""
        return self.descriptor.media_type in _INDEX_TYPES


def _descriptor(value: object, what: str) -> Descriptor:
    document = checked(value, dict, what)
    size = checked(document.get("size"), int, f"size of {what}")
    if not 0 <= size <= MAX_BLOB:
        raise Malformed(f"size of {what} is {size}")
    return Descriptor(
        member(document, "mediaType", str, what), digest(document.get("digest"), f"digest of {what}"), size
    )


def is_index(raw: bytes) -> bool:
    """Whether a document is an index; the field `manifests` tells it where no media type does."""
    document = load_json(raw, "the manifest")
    media_type = member(document, "mediaType", str, "the manifest")
    return media_type in _INDEX_TYPES or ("manifests" in document and "layers" not in document)


def parse_index(raw: bytes) -> tuple[IndexEntry, ...]:
    """The manifests of an index, in its order.

    Raises:
        Malformed: it is not valid.
    """
    entries = member(load_json(raw, "the index"), "manifests", list, "the index")
    return tuple(_index_entry(checked(entry, dict, "a manifest of the index")) for entry in entries)


def _index_entry(entry: dict[str, Any]) -> IndexEntry:
    return IndexEntry(
        _descriptor(entry, "a manifest of the index"),
        platform_of(member(entry, "platform", dict, "the index")),
        member(entry, "annotations", dict, "the index"),
    )


def platform_of(document: dict[str, Any]) -> Platform | None:
    """The platform that an index entry or a configuration says, None where it says none."""
    fields = [member(document, key, str, "the platform") for key in ("architecture", "os", "variant")]
    return Platform(*fields) if fields[0] else None


def choose_manifest(entries: tuple[IndexEntry, ...], wanted: Platform, name: str) -> Descriptor:
    """The manifest for a platform: the same variant, else the first of the architecture.

    Raises:
        NotFound: the index has none for it.
    """
    fitting = [entry for entry in entries if entry.platform is None or runs_on(entry.platform, wanted)]
    same = [entry for entry in fitting if entry.platform and entry.platform.variant == wanted.variant]
    if not fitting:
        raise NotFound(
            f"{name} has no image for {wanted}",
            hint="it has " + ", ".join(sorted({str(entry.platform)[:60] for entry in entries})[:20]),
        )
    return (same or fitting)[0].descriptor


def runs_on(platform: Platform, wanted: Platform) -> bool:
    """Whether what is built for `platform` runs on `wanted`; arm64 without a variant is v8."""
    baseline = {platform.variant, wanted.variant} <= {"", "v8"} or "" in (platform.variant, wanted.variant)
    return (platform.os or "linux", platform.architecture) == (wanted.os, wanted.architecture) and (
        baseline or platform.variant == wanted.variant
    )


def parse_manifest(raw: bytes) -> ImageManifest:
    """An image's manifest.

    Raises:
        Malformed: it is not valid, or not that of a container image.
        Unimplemented: docker schema 1, or layers of a kind that cannot be read (encrypted ones).
    """
    document = load_json(raw, "the manifest")
    if document.get("schemaVersion") == 1:
        raise Unimplemented("the manifest is of docker schema 1", hint="push the image again with a newer client")
    config = _descriptor(document.get("config"), "config of the manifest")
    if config.media_type not in CONFIG_TYPES:
        raise Malformed(f"it is not a container image: its configuration is of type {config.media_type[:100]!r}")
    layers = member(document, "layers", list, "the manifest")
    if len(layers) > MAX_LAYERS:
        raise Malformed(f"the manifest has {len(layers)} layers; {MAX_LAYERS} are allowed")
    return ImageManifest(config, tuple(_layer(layer) for layer in layers))


def _layer(value: object) -> Descriptor:
    layer = _descriptor(value, "a layer")
    if layer.media_type not in _LAYER_TYPES:
        raise Unimplemented(f"a layer is of type {layer.media_type[:100]!r}, which cannot be read")
    return layer
