"""The maps of sparse files: GNU tar's old format, and the checks that hold for all formats."""

from collections.abc import Iterator, Sequence

from vmsandbox.images.oci import Malformed
from vmsandbox.images.rootfs.layers import PIECE_MEMORY, Budget
from vmsandbox.images.rootfs.tar.header import BLOCK, Header, number
from vmsandbox.images.rootfs.tar.stream import TarStream

_FIELD = 12
_IN_HEADER, _IN_BLOCK = 4, 21
_MAX_LINE = 20


def old_map(header: Header, stream: TarStream, budget: Budget) -> list[int]:
    """Offsets and lengths in turn from a header of type S and the blocks of the map that follow it."""
    numbers = list(_fields(header.block, 386, _IN_HEADER))
    more = header.block[482]
    while more:
        budget.spend_memory(_IN_BLOCK * PIECE_MEMORY)
        block = stream.read(BLOCK)
        numbers += _fields(block, 0, _IN_BLOCK)
        more = block[504]
    return numbers


def _fields(block: bytes, start: int, pairs: int) -> Iterator[int]:
    for at in range(start, start + 2 * pairs * _FIELD, 2 * _FIELD):
        if not block[at]:  # the map may end before the block does
            return
        yield number(block[at : at + _FIELD])
        yield number(block[at + _FIELD : at + 2 * _FIELD])


def old_size(header: Header) -> int:
    """The file's size with its holes, from a header of type S."""
    return number(header.block[483:495])


def leading_map(stream: TarStream, budget: Budget) -> list[int]:
    """Offsets and lengths in turn from the beginning of a file's data, which is padded to a block (format 1.0)."""
    lines = _Lines(stream)
    count = lines.number()
    budget.spend_memory(count * PIECE_MEMORY)
    return [lines.number() for _ in range(2 * count)]


class _Lines:
    """Decimal numbers, one a line, read block by block."""

    def __init__(self, stream: TarStream) -> None:
        self._stream = stream
        self._data = b""

    def number(self) -> int:
        while b"\n" not in self._data:
            if len(self._data) > _MAX_LINE:
                raise Malformed("its tar archive has a sparse file whose map cannot be read")
            self._data += self._stream.read(BLOCK)
        line, _, self._data = self._data.partition(b"\n")
        if not line.isdigit() or len(line) > _MAX_LINE:
            raise Malformed("its tar archive has a sparse file whose map cannot be read")
        return int(line)


def checked_pieces(numbers: Sequence[int], size: int, stored: int) -> tuple[tuple[int, int], ...]:
    """The pieces of a file of `size` bytes, of which `stored` are in the archive.

    Raises:
        Malformed: they overlap, are out of order, or are not the bytes that the archive holds.
    """
    if len(numbers) % 2:
        raise Malformed("its tar archive has a sparse file whose map has half a piece")
    pieces = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in pieces:
        if offset < end or length < 0 or offset + length > size:
            raise Malformed("its tar archive has a sparse file whose pieces overlap or lie outside it")
        end = offset + length
    if sum(length for _, length in pieces) != stored:
        raise Malformed("its tar archive has a sparse file with more or fewer bytes than its map says")
    return tuple(piece for piece in pieces if piece[1])
