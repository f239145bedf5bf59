"""The memory of one QEMU is that of another after it was written and read, and its zeros take nothing."""

import ctypes
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsandbox.hypervisor.libvirt.saved import guest_memory

PAGE, MIB = 4096, 1 << 20
_libc = ctypes.CDLL(None)  # `mmap.mmap` keeps a second descriptor
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
OLD = guest_memory.FIRST_WITHOUT - 1


@pytest.fixture
def memory() -> Iterator[int]:
    """A file as QEMU's, of 3 MiB, with content in two pages and zeros in others."""
    file = new_memory(3 * MIB)
    os.pwrite(file, bytes(MIB), 0)
    os.pwrite(file, b"kernel", MIB + 5 * PAGE)
    os.pwrite(file, b"end", 3 * MIB - 3)
    address = _libc.mmap(None, 3 * MIB, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, file, 0)
    yield file
    _libc.munmap(address, 3 * MIB)
    os.close(file)


def new_memory(size: int) -> int:
    file = os.memfd_create("memory-backend-memfd")
    os.ftruncate(file, size)
    return file


def test_the_content_is_copied_and_zeros_stay_holes(memory: int, tmp_path: Path) -> None:
    content, path = os.pread(memory, 3 * MIB, 0), tmp_path / "memory"
    grows = new_memory(1 << 30)  # can be plugged in, and is empty
    guest_memory.write(os.getpid(), path)
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_size < 3 * PAGE
    os.ftruncate(memory, 0)
    os.ftruncate(memory, 3 * MIB)
    guest_memory.read(path, os.getpid())
    assert os.pread(memory, 3 * MIB, 0) == content
    assert (os.fstat(memory).st_blocks * 512, os.fstat(grows).st_blocks) == (2 * PAGE, 0)
    os.close(grows)


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-1], lambda whole: whole[10:], lambda _: b"", lambda _: b'{"size":1}\n']
)
def test_a_damaged_file_is_refused(memory: int, tmp_path: Path, damage) -> None:
    path = tmp_path / "memory"
    guest_memory.write(os.getpid(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises((ValueError, KeyError)):
        guest_memory.read(path, os.getpid())


def test_memory_of_another_size_is_not_written_to(memory: int, tmp_path: Path) -> None:
    path = tmp_path / "memory"
    guest_memory.write(os.getpid(), path)
    os.ftruncate(memory, 2 * MIB)
    with pytest.raises(ValueError):
        guest_memory.read(path, os.getpid())


def test_memory_that_nobody_has_mapped_is_not_written_to(memory: int, tmp_path: Path) -> None:
    path = tmp_path / "memory"
    guest_memory.write(os.getpid(), path)
    alone = new_memory(4 * MIB)
    path.write_bytes(path.read_bytes().replace(str(3 * MIB).encode(), str(4 * MIB).encode(), 1))
    with pytest.raises(ValueError, match="has not mapped"):
        guest_memory.read(path, os.getpid())
    assert os.fstat(alone).st_blocks == 0
    os.close(alone)


def test_memory_is_copied_only_where_qemu_leaves_it_out_and_its_files_are_told_apart(memory: int) -> None:
    assert guest_memory.is_possible(os.getpid(), OLD)
    assert not guest_memory.is_possible(os.getpid(), guest_memory.FIRST_WITHOUT)
    twin = new_memory(3 * MIB)
    assert not guest_memory.is_possible(os.getpid(), OLD)
    os.close(twin)


def test_a_process_without_such_memory_has_none_to_copy() -> None:
    assert not guest_memory.is_possible(os.getpid(), OLD)
