"""Zeros in the memory of a machine that goes on from a saved state: the host gets their pages back.

QEMU looks whether a page that is zero in the state is zero in the machine. In memory that is shared with other
processes (memfd) looking makes the page, so that the machine would take all of its memory of the host.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

_PAGE, _PIECE = 4096, 1 << 20
_ZEROS, _ONE_PAGE = bytes(_PIECE), bytes(_PAGE)
_MEMORY = "/memfd:memory-backend-memfd"
"""The name of the file of a machine's memory, which QEMU gives it."""
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
"""Flags of fallocate(2)."""
_libc = ctypes.CDLL(None, use_errno=True)


def give_zeros_back(pid: int) -> None:
    """Make holes of the zeros in the memory of QEMU's machine, which has to be stopped meanwhile. Blocks.

    Raises:
        OSError: its memory cannot be opened or changed.
    """
    for path in memories_of(pid):
        memory = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            for begin, length in zeros(memory):
                _punch(memory, begin, length)
        finally:
            os.close(memory)


def memories_of(pid: int) -> list[Path]:
    """Return the files, to be opened, of the memories of QEMU's machine: what it has booted with, and what grows."""
    return [link for link in Path(f"/proc/{pid}/fd").iterdir() if _leads_to(link).startswith(_MEMORY)]


def _leads_to(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # it was closed meanwhile
        return ""


def zeros(file: int) -> Iterator[tuple[int, int]]:
    """Yield where a file has whole pages of zeros that are not holes, and how long they are, in bytes."""
    return ((begin, length) for is_zero, begin, length in _runs(file) if is_zero)


def content(file: int) -> Iterator[tuple[int, int]]:
    """Yield where a file has pages that are not zeros, and how long they are, in bytes."""
    return ((begin, length) for is_zero, begin, length in _runs(file) if not is_zero)


def _runs(file: int) -> Iterator[tuple[bool, int, int]]:
    """Yield pieces of a file that are not holes: whether they are zeros, where they begin and how long they are."""
    buffer = bytearray(_PIECE)
    for begin, end in _extents(file):
        for offset in range(begin, end, _PIECE):
            count = os.preadv(file, [memoryview(buffer)[: end - offset]], offset)
            if count == _PIECE and buffer == _ZEROS:
                yield True, offset, _PIECE
            else:
                yield from ((is_zero, offset + at, length) for is_zero, at, length in _within(buffer[:count]))


def _extents(file: int) -> Iterator[tuple[int, int]]:
    """Yield where a file has something, and where that ends: most of the memory that can be plugged in is a hole."""
    end = 0
    with contextlib.suppress(OSError):  # ENXIO: there is nothing more
        while True:
            begin = os.lseek(file, end, os.SEEK_DATA)
            end = os.lseek(file, begin, os.SEEK_HOLE)
            yield begin, end


def _within(piece: bytearray) -> Iterator[tuple[bool, int, int]]:
    """Runs of pages, all of which are zeros, or none."""
    pages = range(0, len(piece), _PAGE)
    for is_zero, run in groupby(pages, key=lambda at: piece.startswith(_ONE_PAGE, at)):
        found = list(run)
        yield is_zero, found[0], min(len(found) * _PAGE, len(piece) - found[0])


def _punch(file: int, begin: int, length: int) -> None:
    flags = _KEEP_SIZE | _PUNCH_HOLE
    if _libc.fallocate(file, flags, ctypes.c_long(begin), ctypes.c_long(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
