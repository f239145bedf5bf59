"""Block devices of this host: their size and blocks, whether the host uses them, and loop devices over files (loop(4)).

Every function raises OSError. Opening a device, or a file behind a loop device, may hang (`fs.foreign`).
"""

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

SECTOR = 512
"""Bytes; what sysfs counts in, and the least that a device can be."""

_BLKSSZGET, _BLKPBSZGET, _BLKGETSIZE64 = 0x1268, 0x127B, 0x80081272

_LOOP_MAJOR = 7
_LOOP_GET_STATUS64, _LOOP_SET_CAPACITY, _LOOP_CONFIGURE, _LOOP_CTL_GET_FREE = 0x4C05, 0x4C07, 0x4C0A, 0x4C82
_READ_ONLY, _AUTOCLEAR = 1, 4
_INFO = struct.Struct("<5Q4I64s64s32s2Q")
"""struct loop_info64 (linux/loop.h): device and inode of the file come first, the flags last of the four numbers."""
_CONFIG_HEAD, _CONFIG_RESERVED = struct.Struct("<2I"), bytes(64)
_ATTEMPTS = 16
"""Others take loop devices at the same time."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The geometry of a block device; sizes are in bytes."""

    size: int
    logical_block: int
    """The unit of addresses: nothing smaller can be read or written."""
    physical_block: int
    """The unit that the device writes at once."""


def geometry(device: int) -> Geometry:
    """Return the geometry of an opened block device."""
    size, logical, physical = (
        int.from_bytes(fcntl.ioctl(device, request, bytes(width)), "little")
        for request, width in ((_BLKGETSIZE64, 8), (_BLKSSZGET, 4), (_BLKPBSZGET, 4))
    )
    return Geometry(size, logical, physical)


def is_used_by_host(node: Path) -> bool:
    """Whether the host has the device for itself: mounted, as swap, in a RAID or below the device mapper.

    It need not be writable. Nothing is written, and nothing is held when this returns.
    """
    try:
        os.close(os.open(node, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise
    return False


def size_of(number: int) -> int:
    """The bytes that the device of that number (`st_rdev`) has now; asks nobody but the kernel."""
    return int((_sysfs(number) / "size").read_text()) * SECTOR


def is_read_only(number: int) -> bool:
    """Whether nobody can write to the device of that number."""
    return (_sysfs(number) / "ro").read_text().strip() == "1"


def name_of(number: int) -> str:
    """The device as the host calls it, for people: /dev/sdb."""
    return f"/dev/{_sysfs(number).resolve().name}"


def loop_over(file: int, control: Path = Path("/dev/loop-control")) -> int:
    """Make a loop device over an opened file, writable as that is, and return it opened; the caller closes it.

    The kernel takes the device away when the last one closes it, whoever that is.
    """
    is_read_only = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    flags = _AUTOCLEAR | (_READ_ONLY if is_read_only else 0)
    info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, b"", b"", b"", 0, 0)
    config = _CONFIG_HEAD.pack(file, 0) + info + _CONFIG_RESERVED
    mode = os.O_RDONLY if is_read_only else os.O_RDWR
    retrying = Retrying(retry=retry_if_exception_type(_Taken), stop=stop_after_attempt(_ATTEMPTS), reraise=True)
    return retrying(lambda: _configured(_free_loop(control, mode), config))


class _Taken(OSError):
    """Another process has taken the loop device that was free a moment ago."""


def _configured(loop: int, config: bytes) -> int:
    try:
        fcntl.ioctl(loop, _LOOP_CONFIGURE, config)
    except OSError as error:
        os.close(loop)
        if error.errno == errno.EBUSY:
            raise _Taken(errno.EBUSY, "no loop device is free") from None
        raise
    return loop


def loops_over(file: os.stat_result) -> dict[int, bool]:
    """The loop devices over a file, by their numbers (`st_rdev`), and whether each is writable."""
    found = {}
    for number, info in _loops():
        if (info[0], info[1]) == (file.st_dev, file.st_ino):
            found[number] = not info[8] & _READ_ONLY
    return found


def follow_file(node: Path, number: int) -> None:
    """Let a loop device that `loop_over` has made have the size that its file has now; others are left as they are."""
    autoclear = _sysfs(number) / "loop/autoclear"
    if os.major(number) == _LOOP_MAJOR and autoclear.exists() and autoclear.read_text().strip() == "1":
        with _opened(node) as device:
            fcntl.ioctl(device, _LOOP_SET_CAPACITY, 0)


def _free_loop(control: Path, flags: int) -> int:
    with _opened(control, os.O_RDWR) as asked:
        number = fcntl.ioctl(asked, _LOOP_CTL_GET_FREE)
    return os.open(f"/dev/loop{number}", flags | os.O_CLOEXEC)


def _loops() -> Iterator[tuple[int, tuple[int, ...]]]:
    for loop in Path("/sys/block").glob("loop*/loop"):
        with contextlib.suppress(OSError), _opened(Path("/dev") / loop.parent.name) as device:
            info = fcntl.ioctl(device, _LOOP_GET_STATUS64, bytes(_INFO.size))
            yield os.fstat(device).st_rdev, _INFO.unpack(info)


@contextlib.contextmanager
def _opened(node: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    device = os.open(node, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield device
    finally:
        os.close(device)


def _sysfs(number: int) -> Path:
    return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
