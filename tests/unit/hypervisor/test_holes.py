"""The zeros of a machine's memory go back to the host, and nothing else of it changes."""

import os
from collections.abc import Iterator

import pytest

from vmsandbox.hypervisor.libvirt.saved.holes import give_zeros_back, zeros

PAGE, MIB = 4096, 1 << 20


@pytest.fixture
def memory() -> Iterator[int]:
    """A file as QEMU's, of 3 MiB: zeros that were written, except two pages."""
    file = os.memfd_create("memory-backend-memfd")
    os.pwrite(file, bytes(3 * MIB), 0)
    os.pwrite(file, b"kernel", MIB + 5 * PAGE)
    os.pwrite(file, b"end", 3 * MIB - 3)
    yield file
    os.close(file)


def test_pages_of_zeros_are_found_together(memory: int) -> None:
    found = [(offset // PAGE, length // PAGE) for offset, length in zeros(memory)]
    assert found == [(0, 256), (256, 5), (262, 250), (512, 255)]


def test_holes_are_not_read(memory: int) -> None:
    os.ftruncate(memory, 1 << 40)
    assert sum(length for _, length in zeros(memory)) == 3 * MIB - 2 * PAGE


def test_the_host_gets_the_pages_of_zeros_back_and_the_content_stays(memory: int) -> None:
    before = os.pread(memory, 3 * MIB, 0)
    assert os.fstat(memory).st_blocks * 512 == 3 * MIB
    give_zeros_back(os.getpid())
    assert os.fstat(memory).st_blocks * 512 == 2 * PAGE
    assert os.pread(memory, 3 * MIB, 0) == before


def test_a_process_without_such_memory_is_left_alone() -> None:
    give_zeros_back(os.getpid())
