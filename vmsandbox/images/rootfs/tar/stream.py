"""A layer's uncompressed tar, read forwards, counted against the limits and held against its diff_id."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from vmsandbox.errors import Internal
from vmsandbox.images.oci import Malformed
from vmsandbox.images.rootfs.layers import Budget


@dataclass(slots=True)
class TarStream:
    """Bytes from the front to the back; `position` counts those that were taken."""

    source: Iterator[bytes]
    position: int = 0
    _piece: bytes = b""
    _start: int = 0

    def read(self, size: int) -> bytes:
        """Exactly so many bytes; keep `size` small.

        Raises:
            Malformed: the stream ends before.
        """
        end = self._start + size
        if end <= len(self._piece):
            data = self._piece[self._start : end]
            self._start, self.position = end, self.position + size
            return data
        return b"".join(self.chunks(size))

    def chunks(self, size: int) -> Iterator[bytes]:
        """So many bytes, as they come.

        Raises:
            Malformed: the stream ends before.
        """
        while size:
            if self.at_end():
                raise Malformed("its tar archive is cut short")
            chunk = self._piece[self._start : self._start + size]
            self._start += len(chunk)
            self.position += len(chunk)
            size -= len(chunk)
            yield chunk

    def skip(self, size: int) -> None:
        """Pass over so many bytes.

        Raises:
            Malformed: the stream ends before.
        """
        while size:
            if self.at_end():
                raise Malformed("its tar archive is cut short")
            step = min(size, len(self._piece) - self._start)
            self._start += step
            self.position += step
            size -= step

    def at_end(self) -> bool:
        """Whether nothing is left."""
        while self._start == len(self._piece):
            piece = next(self.source, None)
            if piece is None:
                return True
            self._piece, self._start = piece, 0
        return False

    def drain(self) -> None:
        """Read what is left."""
        while not self.at_end():
            self._start = len(self._piece)


@dataclass(slots=True)
class CheckedStream:
    """The stream of a layer that was not read before: each byte is counted and goes into the digest."""

    pieces: Iterator[bytes]
    budget: Budget
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256, init=False)

    def open(self) -> TarStream:
        """The stream."""
        return TarStream(self._counted())

    def _counted(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.budget.spend_bytes(len(piece))
            self._hash.update(piece)
            yield piece

    def check(self, diff_id: str) -> None:
        """Compare the digest of what was read.

        Raises:
            Internal: it is another.
        """
        found = f"sha256:{self._hash.hexdigest()}"
        if found != diff_id:
            raise Internal(
                f"it unpacks to {found}, not to the diff_id {diff_id} that the image's configuration names",
                hint="the image is damaged: remove it and pull it again; if that does not help, build it again",
            )
