"""Small images for tests, made in memory: layers, manifests of both kinds, indexes, and archives of them."""

import functools
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
SKIPPABLE_FRAME = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
"""A skippable frame of zstd: RFC 8878, section 3.1.2."""


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A layer with these files, the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@functools.lru_cache(maxsize=4)  # the stand-in images have the same few
def compress(layer: bytes, compression: str) -> bytes:
    """A layer as gzip, as zstd, as zstd behind a `skippable` frame, or as it is."""
    if compression == "gzip":
        return gzip.compress(layer, mtime=0)
    if compression == "skippable":
        return SKIPPABLE_FRAME + compress(layer, "zstd")
    if compression == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=layer, check=True, capture_output=True).stdout
    return layer


@dataclass(frozen=True)
class BuiltImage:
    """A manifest or an index, and every blob it needs, by digest."""

    manifest: bytes
    media_type: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    children: tuple["BuiltImage", ...] = ()
    layers: tuple[str, ...] = ()
    config: str = ""

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    def all_blobs(self) -> dict[str, bytes]:
        """The blobs, and the manifests among them, as an OCI layout keeps them."""
        own = {self.digest: self.manifest, **self.blobs}
        for child in self.children:
            own |= child.all_blobs()
        return own


def _layer_type(docker: bool, compression: str) -> str:
    if docker:
        return f"{DOCKER}.image.rootfs.diff.tar" + (f".{compression}" if compression else "")
    return f"{OCI}.layer.v1.tar" + (f"+{compression}" if compression else "")


def build_image(
    layers: Sequence[Mapping[str, bytes] | bytes] = ({"hello": b"hello"},),
    *,
    docker: bool = False,
    compression: str = "gzip",
    architecture: str = "amd64",
    run: Mapping[str, Any] | None = None,
    damage: Callable[[bytes], bytes] = bytes,
) -> BuiltImage:
    """An image with these layers, of files or as tars, and this `config` of its configuration.

    `damage` is done to the compressed layers; the manifest describes what it makes of them.
    """
    tars = [layer if isinstance(layer, bytes) else tar_of(layer) for layer in layers]
    packed = [damage(compress(layer, compression)) for layer in tars]
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": dict(run or {"Cmd": ["/hello"]}),
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in tars]},
            "history": [{"created_by": "test"} for _ in tars],
            "x-unknown": "an image's id is that of its own bytes",
        }
    ).encode()
    config_type = f"{DOCKER}.container.image.v1+json" if docker else f"{OCI}.config.v1+json"
    media_type = f"{DOCKER}.distribution.manifest.v2+json" if docker else f"{OCI}.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config, config_type),
        "layers": [descriptor(layer, _layer_type(docker, compression)) for layer in packed],
    }
    return BuiltImage(
        json.dumps(manifest).encode(),
        media_type,
        {digest_of(blob): blob for blob in [config, *packed]},
        layers=tuple(digest_of(layer) for layer in packed),
        config=digest_of(config),
    )


def descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def build_index(images: Mapping[str, BuiltImage], *, docker: bool = False) -> BuiltImage:
    """An index of images by architecture."""
    media_type = f"{DOCKER}.distribution.manifest.list.v2+json" if docker else f"{OCI}.index.v1+json"
    entries = [
        descriptor(image.manifest, image.media_type) | {"platform": {"architecture": architecture, "os": "linux"}}
        for architecture, image in images.items()
    ]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return BuiltImage(json.dumps(document).encode(), media_type, children=tuple(images.values()))


def write_layout(directory: Path, images: Mapping[str, BuiltImage]) -> Path:
    """An OCI layout of images by their `ref.name`."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for image in images.values():
        for digest, blob in image.all_blobs().items():
            (blobs / digest.removeprefix("sha256:")).write_bytes(blob)
    entries = [
        descriptor(image.manifest, image.media_type) | {"annotations": {"org.opencontainers.image.ref.name": name}}
        for name, image in images.items()
    ]
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory


def archive_of(directory: Path, archive: Path) -> Path:
    """A tar of what is in a directory."""
    with tarfile.open(archive, "w") as tar:
        for path in sorted(directory.rglob("*")):
            tar.add(path, path.relative_to(directory).as_posix(), recursive=False)
    return archive
