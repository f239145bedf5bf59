"""What a root image is made of, and how large it may become."""

from dataclasses import dataclass, field
from pathlib import Path

from vmsandbox.errors import ResourceExhausted


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image (OCI image-spec, layer.md; docker's layers are the same).

    `path` is the blob; `diff_id` is the digest of the uncompressed tar (`sha256:HEX`), which it is held against.
    """

    path: Path
    diff_id: str


@dataclass(frozen=True, slots=True)
class RootLimit:
    """How large a root image's source may be; a hostile image reaches these instead of filling the host.

    `size`: bytes that the uncompressed layers may have together, and, once more, the files in the result.
    `entries`: tar entries in all layers together, with directories implied by them and pieces of sparse files; they
    bound the memory that is needed: 400 bytes each, and as many more as one has KiB of names and attributes.
    """

    size: int = 32 << 30
    entries: int = 1_000_000


@dataclass(slots=True)
class Budget:
    """What is left of a limit; every layer of an image spends from the same."""

    limit: RootLimit
    _size: int = field(default=0, init=False)
    _entries: int = field(default=0, init=False)

    def spend_bytes(self, size: int) -> None:
        """Count uncompressed bytes.

        Raises:
            ResourceExhausted: there are more than allowed.
        """
        self._size += size
        if self._size > self.limit.size:
            raise ResourceExhausted(
                f"the image unpacks to more than {self.limit.size} bytes",
                hint="raise the limit of an image's size in the configuration, if you trust the image",
            )

    def spend_entries(self, count: int = 1) -> None:
        """Count entries.

        Raises:
            ResourceExhausted: there are more than allowed.
        """
        self._entries += count
        if self._entries > self.limit.entries:
            raise ResourceExhausted(f"the image has more than {self.limit.entries} files and directories")
