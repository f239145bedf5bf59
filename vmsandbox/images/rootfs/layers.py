"""What a root image is made of, and how large it may become."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image (OCI image-spec, layer.md; docker's layers are the same).

    `path` is the blob; `media_type` says how it is compressed; `diff_id` is the digest of the uncompressed tar
    (`sha256:HEX`), which it is held against.
    """

    path: Path
    media_type: str
    diff_id: str


@dataclass(frozen=True, slots=True)
class RootLimit:
    """How large a root image's source may be; a hostile image reaches these instead of filling the host.

    `size`: bytes that the uncompressed layers may have together, and, once more, the files in the result.
    `entries`: tar entries in all layers together, and directories implied by them.
    """

    size: int = 32 << 30
    entries: int = 2_000_000
