"""A layer's bytes uncompressed, piece by piece: memory stays bounded whatever the layer claims to be."""

import zlib
from collections.abc import Iterator
from typing import IO

import zstandard

from vmsandbox.images.documents import Malformed

PIECE = 1 << 20
"""Bytes of one piece at most."""

_GZIP = 16 + zlib.MAX_WBITS
_MAX_WINDOW = 128 << 20
"""Bytes of history that a zstd frame may ask for, as much as the zstd program allows."""


def pieces(blob: IO[bytes], media_type: str) -> Iterator[bytes]:
    """The uncompressed content of a layer of this media type.

    Raises:
        Malformed: it is not compressed as its type says, or is cut short.
    """
    ending = media_type.rpartition(".tar")[2]
    try:
        if ending.endswith("gzip"):
            yield from _gunzip(blob)
        elif ending.endswith("zstd"):
            yield from _unzstd(blob)
        else:
            yield from iter(lambda: blob.read(PIECE), b"")
    except (zlib.error, zstandard.ZstdError) as error:
        raise Malformed(f"its compression is damaged: {error}") from None


def _gunzip(blob: IO[bytes]) -> Iterator[bytes]:
    """All members of a gzip file (RFC 1952), one after the other; zeros may pad the last."""
    rest = blob.read(PIECE)
    while rest:
        member = zlib.decompressobj(_GZIP)
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
