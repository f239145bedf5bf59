"""The uncompressed content of layers, for both passes: decompressed once, and kept in a file for the second time.

Decompressing is most of a pass's CPU time, and a file that is written and read once more hardly reaches the disk.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from vmsandbox.images.rootfs.tar import PIECE, is_compressed, uncompressed_pieces

_MOST_KEPT = 1 << 30
"""Bytes of all layers; what is beyond is decompressed again, since the disk may not have room for it."""


@dataclass(slots=True)
class Keep:
    """A file, empty at first, for what the layers of an image unpack to."""

    file: IO[bytes]
    end: int = field(default=0, init=False)

    def write(self, piece: bytes) -> bool:
        """Append a piece; returns whether there was room for it. Raises OSError where the disk is full."""
        if self.end + len(piece) > _MOST_KEPT:
            return False
        self.file.write(piece)
        self.end += len(piece)
        return True

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes between two places, piece by piece."""
        self.file.flush()
        for place in range(begin, end, PIECE):
            yield os.pread(self.file.fileno(), min(PIECE, end - place), place)


@dataclass(slots=True)
class LayerContent:
    """The uncompressed content of one layer; layers are read one after the other. A plain one is not kept."""

    blob: IO[bytes]
    keep: Keep
    _place: tuple[int, int] | None = field(default=None, init=False)
    """Where it is kept, from its first byte to its last."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the content from its beginning. Raises as `uncompressed_pieces`."""
        return self._unpacked() if self._place is None else self.keep.read(*self._place)

    def _unpacked(self) -> Iterator[bytes]:
        begin, whole = self.keep.end, is_compressed(self.blob)
        for piece in uncompressed_pieces(self.blob):
            whole = whole and self.keep.write(piece)
            yield piece
        if whole:
            self._place = (begin, self.keep.end)
