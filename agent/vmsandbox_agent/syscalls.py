"""The system calls that Python 3.11 has no function for. Every one raises OSError with the path it concerns."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME = 1, 2, 4, 8, 1024
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 32, 4096, 16384, 1 << 18, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

ADDR_NO_RANDOMIZE, AS_IT_IS = 0x0040000, 0xFFFFFFFF
"""Personalities: a flag, and what changes nothing."""

CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000

_RB_POWER_OFF = 0x4321FEDC
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_OPENAT2, _SYS_MOUNT_SETATTR = 428, 429, 437, 442
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_IDMAP = 0x00100000
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH, _RESOLVE_IN_ROOT = 0x02, 0x04, 0x08, 0x10

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _MountIdmap(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    _libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
    arguments = [os.fsencode(text) for text in (source, target, kind)]
    _check(_libc.mount(*arguments, flags, os.fsencode(data)), f"mounting {kind or source} on {target}")


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), f"unmounting {target}")


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[int]:
    """A directory, for `open_in_root`."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def open_in_root(root: int, path: str, flags: int) -> int:
    """openat2(2) with RESOLVE_IN_ROOT: no link, and no `..`, leads out of the directory `root`."""
    return _openat2(root, path, flags, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)


def open_without_links(root: int, path: str, flags: int) -> int:
    """openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS: a link anywhere in `path` is an error (ELOOP).

    Not with O_NOFOLLOW in `flags`: then a link at the end would be opened itself.
    """
    return _openat2(root, path, flags, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)


def _openat2(root: int, path: str, flags: int, resolve: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    name = ctypes.c_char_p(os.fsencode(path))
    fd: int = _libc.syscall(ctypes.c_long(_SYS_OPENAT2), ctypes.c_long(root), name, ctypes.byref(how), size)
    return _check(fd, path)


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def personality(wanted: int) -> int:
    """personality(2) of this thread; returns the one that it had."""
    return _check(_libc.personality(ctypes.c_ulong(wanted)), "setting the personality")


def mount_mapped(source: str, target: str, userns: int) -> None:
    """Bind `source` at `target`, its owners mapped by the user namespace of a file descriptor (mount_setattr(2))."""
    with _open_tree(source) as tree:
        attributes = _MountIdmap(_MOUNT_ATTR_IDMAP, 0, 0, userns)
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        result = _call(_SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size)
        _check(result, f"mapping the owners of {source}")
        moved = _call(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        _check(moved, f"mounting {source} on {target}")


@contextlib.contextmanager
def _open_tree(source: str) -> Iterator[int]:
    """A copy of the mount at `source`, nowhere attached (open_tree(2))."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    tree = _check(_call(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags), f"opening {source}")
    try:
        yield tree
    finally:
        os.close(tree)


def _call(number: int, *arguments: object) -> int:
    """syscall(2), with integers passed as longs."""
    passed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *passed)
    return result


def power_off() -> None:
    """Write out all file systems and switch the machine off."""
    os.sync()
    _check(_libc.reboot(ctypes.c_int(_RB_POWER_OFF)), "powering off")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
