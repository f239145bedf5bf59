"""A layer's bytes uncompressed, piece by piece: memory stays bounded whatever the layer claims to be.

The first bytes say how a layer is compressed, as in containerd. Its media type does not: archives of docker call plain
tars compressed, and registries keep layers whose manifest is wrong.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from typing import IO

import zstandard

from vmsandbox.images.oci import Malformed

PIECE = 1 << 20
"""Bytes of one piece at most."""

_GZIP = b"\x1f\x8b\x08"
"""RFC 1952, section 2.3.1: its magic and the one method of compression."""
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""RFC 8878, section 3.1.2: a frame that a decoder passes over, before the first that holds data (pzstd, eStargz)."""
_WINDOW = 16 + zlib.MAX_WBITS
"""zlib's name for gzip."""
_NO_MEMORY = "not enough memory"
"""In what zstd says when it cannot allocate a window."""
_MAX_WINDOW = 128 << 20
"""Bytes of history that a zstd frame may ask for, as much as the zstd program allows."""


def uncompressed_pieces(blob: IO[bytes]) -> Iterator[bytes]:
    """Yield the uncompressed content of a layer, from its beginning; `blob` can seek.

    Raises:
        Malformed: its compression is damaged, or is cut short.
        MemoryError: this process has reached its limit.
    """
    unpack = _method(blob)
    blob.seek(0)
    try:
        yield from unpack(blob)
    except (zlib.error, zstandard.ZstdError) as error:
        if _NO_MEMORY in str(error):
            raise MemoryError from None
        raise Malformed(f"its compression is damaged: {error}") from None


def is_compressed(blob: IO[bytes]) -> bool:
    """Whether a layer is larger unpacked, by its first bytes; `blob` can seek."""
    return _method(blob) is not _plain


def _method(blob: IO[bytes]) -> Callable[[IO[bytes]], Iterator[bytes]]:
    blob.seek(0)
    start = blob.read(len(_ZSTD))
    if start.startswith(_GZIP):
        return _gunzip
    return _unzstd if start == _ZSTD or _SKIPPABLE.fullmatch(start) else _plain


def _plain(blob: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: blob.read(PIECE), b"")


def _gunzip(blob: IO[bytes]) -> Iterator[bytes]:
    """All members of a gzip file (RFC 1952), one after the other; zeros may pad the last."""
    rest = blob.read(PIECE)
    while rest:
        member = zlib.decompressobj(_WINDOW)
        while not member.eof:
            rest = rest or blob.read(PIECE)
            if not rest:
                raise Malformed("its gzip stream is cut short")
            yield member.decompress(rest, PIECE)
            rest = member.unconsumed_tail
        rest = (member.unused_data or blob.read(PIECE)).lstrip(b"\0")


def _unzstd(blob: IO[bytes]) -> Iterator[bytes]:
    """All frames of a zstd file (RFC 8878), skippable ones left out."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    with decompressor.stream_reader(blob, read_size=PIECE, read_across_frames=True, closefd=False) as reader:
        yield from iter(lambda: reader.read(PIECE), b"")
