"""The memory of a machine in a file of its own: copied from one QEMU and to another, without QEMU's doing.

QEMU writes memory into a saved state page by page, reads it so, and makes even the pages that are zero. It leaves out
memory that it shares with other processes, where it is asked to (`x-ignore-shared`). To copy that takes a tenth of the
time, and what is zero stays a hole.

The file begins with a line of JSON: the size of the memory, and where what follows the line belongs, as offsets and
lengths in bytes.
"""

import contextlib
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.hypervisor.libvirt.saved.holes import content, memories_of

FIRST_WITHOUT = 8_001_000
"""The version of QEMU that first writes such memory into the state whatever it is asked."""
_MOST_OF_A_LINE = 64 << 20
_KEY_SIZE, _KEY_RUNS = "size", "runs"


def is_possible(pid: int, version: int) -> bool:
    """Whether the memory of a QEMU can be copied: its version leaves it out, and it is told apart by its size."""
    with _opened(pid) as memories:
        sizes = [os.fstat(memory).st_size for memory in memories]
    return version < FIRST_WITHOUT and bool(sizes) and len(set(sizes)) == len(sizes)


def write(pid: int, path: Path) -> None:
    """Write the memory of a QEMU whose machine is stopped to a new file. Blocks.

    Raises:
        OSError: one of the two cannot be read or written, or there is more than one memory that has content.
    """
    with _opened(pid) as memories:
        (memory,) = [each for each in memories if os.fstat(each).st_blocks] or [-1]
        runs = list(content(memory))
        line = json.dumps({_KEY_SIZE: os.fstat(memory).st_size, _KEY_RUNS: runs}).encode() + b"\n"
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(line)
            for begin, length in runs:
                file.write(os.pread(memory, length, begin))


def read(path: Path, pid: int) -> None:
    """Copy what `write` has written into the memory of a QEMU that waits for its state. Blocks.

    It is written where QEMU has mapped it: the host charges it to the cgroup of QEMU, and not to ours.

    Raises:
        OSError: one of the two cannot be read or written.
        ValueError: the file is damaged, or that QEMU has no memory of this size.
    """
    mapping = Path(f"/proc/{pid}/mem")
    with path.open("rb") as file, _opened(pid) as memories, mapping.open("wb", buffering=0) as mapped:
        found = json.loads(file.readline(_MOST_OF_A_LINE))
        (memory,) = [each for each in memories if os.fstat(each).st_size == found[_KEY_SIZE]]
        places, offset = _places(pid, os.fstat(memory).st_ino), file.tell()
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as whole, memoryview(whole) as content_of:
            for begin, length in found[_KEY_RUNS]:
                with content_of[offset : offset + length] as run:
                    if len(run) != length:
                        raise ValueError("it ends too early")
                    _copy(run, mapped.fileno(), begin, places)
                offset += length


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a process has mapped a piece of a file."""

    begin: int
    end: int
    """Offsets in the file."""
    address: int


def _places(pid: int, inode: int) -> list[_Place]:
    """Where a process has mapped a file (proc_pid_maps(5))."""
    places = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, _, offset, _, number, *_ = line.split()
        if int(number) == inode:
            first, last = (int(each, 16) for each in addresses.split("-"))
            begin = int(offset, 16)
            places.append(_Place(begin, begin + last - first, first))
    return places


def _copy(run: memoryview, mapped: int, begin: int, places: Sequence[_Place]) -> None:
    """Write to an offset of the memory by way of the mappings. Raises ValueError where none has it."""
    done = 0
    while done < len(run):
        at = begin + done
        place = next((each for each in places if each.begin <= at < each.end), None)
        if place is None:
            raise ValueError(f"QEMU has not mapped its memory at {at}")
        count = min(len(run) - done, place.end - at)
        done += os.pwrite(mapped, run[done : done + count], place.address + at - place.begin)


@contextlib.contextmanager
def _opened(pid: int) -> Iterator[Sequence[int]]:
    with contextlib.ExitStack() as stack:
        opened = []
        for path in memories_of(pid):
            opened.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
            stack.callback(os.close, opened[-1])
        yield opened
