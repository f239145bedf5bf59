"""Header blocks of SPDY/3: names and values, compressed (draft-mbelshe-httpbis-spdy-00, 2.6.10).

All blocks of one direction are a single zlib stream that begins with the draft's dictionary; each ends with a sync
flush. So a block that cannot be read ends the session: the ones after it could not be read either.
"""

import struct
import zlib
from collections.abc import Mapping

from vmsandbox.streaming.protocol.spdy.dictionary import DICTIONARY
from vmsandbox.streaming.protocol.spdy.frames import SpdyError

BLOCK_LIMIT = 16 * 1024
"""Bytes that a block may have when it is decompressed."""

_WORD = struct.Struct(">I")
_WINDOW_BITS, _MEMORY_LEVEL = 11, 1
"""The smallest window that holds the dictionary: blocks are short, and zlib's default takes 256 KiB."""


class MalformedHeaders(Exception):
    """A block was decompressed, but breaks a rule of headers; only its stream is lost."""


class HeaderCompressor:
    """Makes the blocks that are sent."""

    def __init__(self) -> None:
        """Begin the stream."""
        self._zlib = zlib.compressobj(wbits=_WINDOW_BITS, memLevel=_MEMORY_LEVEL, zdict=DICTIONARY)

    def compress(self, headers: Mapping[str, str]) -> bytes:
        """The block of these headers, whose names are made lower-case."""
        parts = [_WORD.pack(len(headers))]
        for name, value in headers.items():
            parts += [_counted(name.lower()), _counted(value)]
        return self._zlib.compress(b"".join(parts)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class HeaderDecompressor:
    """Reads the blocks that arrive."""

    def __init__(self) -> None:
        """Begin the stream."""
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def decompress(self, block: bytes) -> dict[str, str]:
        """The headers of a block; several values of one name are joined by NUL, as the draft has them.

        Raises:
            SpdyError: it cannot be decompressed, or becomes larger than `BLOCK_LIMIT`.
            MalformedHeaders: the content is not a list of headers.
        """
        try:
            data = self._zlib.decompress(block, BLOCK_LIMIT + 1)
        except zlib.error as error:
            raise SpdyError(f"headers cannot be decompressed: {error}") from None
        if len(data) > BLOCK_LIMIT or self._zlib.unconsumed_tail:
            raise SpdyError(f"headers of more than {BLOCK_LIMIT} bytes")
        if self._zlib.eof:
            raise SpdyError("the compression of headers has ended")
        return _parse(data)


def _counted(text: str) -> bytes:
    encoded = text.encode()
    return _WORD.pack(len(encoded)) + encoded


def _parse(data: bytes) -> dict[str, str]:
    count, position = _word(data, 0)
    headers: dict[str, str] = {}
    for _ in range(count):
        name, position = _string(data, position)
        value, position = _string(data, position)
        if not name or name != name.lower() or name in headers:
            raise MalformedHeaders(f"the header name {name!r}")
        headers[name] = value
    if position != len(data):
        raise MalformedHeaders(f"{len(data) - position} bytes after the headers")
    return headers


def _word(data: bytes, position: int) -> tuple[int, int]:
    if position + _WORD.size > len(data):
        raise MalformedHeaders("headers that are cut")
    return _WORD.unpack_from(data, position)[0], position + _WORD.size


def _string(data: bytes, position: int) -> tuple[str, int]:
    length, position = _word(data, position)
    if position + length > len(data):
        raise MalformedHeaders("headers that are cut")
    return data[position : position + length].decode("utf-8", "replace"), position + length
