"""The parts of a root image, and the limits on its build."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vmsandbox.errors import ResourceExhausted

FILE_MEMORY = 768
"""Bytes that one name in the tree costs, measured in both passes; its length and its attributes come on top."""
ATTRIBUTE_MEMORY = 160
"""Bytes that one extended attribute costs; its name and its value come on top."""
PIECE_MEMORY = 160
"""Bytes that one piece of a sparse file costs."""


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
    `memory`: bytes that the names and attributes of all layers' files may take in the builder. An entry is charged
    what it costs there when it is read, also where a higher layer removes it; so are headers that describe nothing.
    """

    size: int = 32 << 30
    memory: int = 1 << 30


@dataclass(slots=True)
class Budget:
    """The rest of a limit that all layers of an image share."""

    limit: RootLimit
    _size: int = field(default=0, init=False)
    _memory: int = field(default=0, init=False)

    def for_the_result(self) -> "Budget":
        """A budget for the second pass: the memory is still taken, the size is counted anew."""
        budget = Budget(self.limit)
        budget._memory = self._memory
        return budget

    def spend_bytes(self, size: int) -> None:
        """Count uncompressed bytes.

        Raises:
            ResourceExhausted: there are more than allowed.
        """
        self._size += size
        if self._size > self.limit.size:
            raise ResourceExhausted(
                f"the image unpacks to more than {self.limit.size} bytes",
                hint="raise images.max_root_size in the configuration, if you trust the image",
            )

    def spend_file(self, name: bytes, attributes: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Count a file or directory with its name and extended attributes. Raises as `spend_memory`."""
        self.spend_memory(FILE_MEMORY + len(name))
        for key, value in attributes:
            self.spend_memory(ATTRIBUTE_MEMORY + len(key) + len(value))

    def spend_memory(self, size: int) -> None:
        """Count bytes of memory.

        Raises:
            ResourceExhausted: there are more than allowed.
        """
        self._memory += size
        if self._memory > self.limit.memory:
            raise out_of_memory(self.limit)


def out_of_memory(limit: RootLimit) -> ResourceExhausted:
    """The error for an image that needs more memory than the limit."""
    return ResourceExhausted(
        f"the names and attributes of the image's files take more than {limit.memory} bytes of memory",
        hint="raise images.max_root_memory in the configuration, if you trust the image",
    )
