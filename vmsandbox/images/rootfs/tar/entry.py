"""One entry of a tar archive, in bytes as the archive has them."""

import enum
from dataclasses import dataclass


class FileKind(enum.Enum):
    """The kinds of entries that layers have; the values are the type flags of POSIX ustar."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHARACTER_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


@dataclass(frozen=True, slots=True)
class Content:
    """Where a file's bytes are in its layer's uncompressed stream.

    `pieces` is for sparse files only: offset in the file and length of each piece that is stored, in the order of
    the stream; all else is zeros. Without it the file is stored whole.
    """

    offset: int
    size: int
    pieces: tuple[tuple[int, int], ...] | None = None

    @property
    def stored(self) -> int:
        """Bytes that the stream has of it."""
        return self.size if self.pieces is None else sum(length for _, length in self.pieces)


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One entry; names are not cleaned, numbers are within what Linux has."""

    name: bytes
    kind: FileKind
    mode: int
    uid: int
    gid: int
    mtime: int
    """Seconds since 1970; fractions are dropped."""
    linkname: bytes = b""
    device: tuple[int, int] = (0, 0)
    content: Content | None = None
    """The content of a regular file."""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
