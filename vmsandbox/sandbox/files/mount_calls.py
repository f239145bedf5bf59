"""The kernel's calls for mounts, those of a mount that is attached nowhere yet among them (open_tree(2)).

What the kernel refuses raises FailedPrecondition, with its reason.
"""

import ctypes
import os
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, hint_for_rights

PRIVATE, SLAVE = 1 << 18, 1 << 19
"""MS_* of linux/mount.h: how a mount propagates."""

READONLY, NOSUID, NODEV, IDMAP = 1, 2, 4, 0x00100000
"""MOUNT_ATTR_* of linux/mount.h."""

_MS_NOSUID, _MS_NOEXEC = 2, 8
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH, _MOVE_MOUNT_SET_GROUP = 4, 0x40, 0x100

_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    """The argument of mount_setattr(2)."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


def copy_of(source: Path, *, recursive: bool = True) -> int:
    """A copy of the mounts at and below `source`, following links, attached nowhere (open_tree(2)); the caller's.

    Where it is not recursive, nothing that is mounted below it is in the copy.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    tree = _call(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags)
    _check(tree, f"cannot open the volume {source}")
    return tree


def attach(tree: int, source: Path, target: Path) -> None:
    """Mount `tree`, a copy of `source`, at `target` (move_mount(2))."""
    moved = _call(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    _check(moved, f"cannot mount {source} at {target}")


def move(mount: int, target: int, what: str) -> None:
    """Have a mount, which may be attached somewhere, at another place; it keeps its id (move_mount(2)).

    Args:
        mount: a descriptor of its root.
        target: a descriptor of the place, in the caller's mount namespace.
        what: for messages.
    """
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    _check(_call(_SYS_MOVE_MOUNT, mount, b"", target, b"", flags), f"cannot mount {what}")


def follow(mount: int, other: int, what: str) -> None:
    """Have a private mount get what `other` gets: be a slave of the same master (Linux 5.15).

    Args:
        mount: a descriptor of the root of a private mount, anywhere.
        other: a descriptor of the root of a slave that shows at least what `mount` does.
        what: for messages.
    """
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH | _MOVE_MOUNT_SET_GROUP
    _check(_call(_SYS_MOVE_MOUNT, other, b"", mount, b"", flags), f"cannot have {what} follow the host's mounts")


def set_attributes(
    tree: int,
    source: Path,
    attributes: int,
    propagation: int = 0,
    *,
    recursive: bool = True,
    owners: int = 0,
    without: int = 0,
) -> None:
    """Give `tree`, a copy of `source`, attributes (mount_setattr(2)).

    Args:
        tree: what `copy_of` made, or a descriptor of the root of a mount in the caller's mount namespace.
        source: for messages.
        attributes: READONLY and its like.
        propagation: PRIVATE or SLAVE; 0 leaves it.
        recursive: also give them to what is mounted below it.
        owners: a user namespace, as a file descriptor, for IDMAP.
        without: attributes that are taken away.
    """
    wanted = _MountAttr(attributes, without, propagation, owners)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    result = _call(_SYS_MOUNT_SETATTR, tree, b"", flags, ctypes.byref(wanted), size)
    _check(result, f"cannot restrict the volume {source}")


def mount(source: str, target: Path, flags: int) -> None:
    """mount(2), without a type of file system."""
    result = _libc.mount(source.encode(), os.fsencode(target), None, ctypes.c_ulong(flags), None)
    _check(result, f"cannot mount {source} at {target}")


def mount_memory(target: Path, options: str) -> None:
    """Mount a tmpfs at `target`, on which device nodes can be opened; set-user-id bits have no meaning."""
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NOEXEC)
    result = _libc.mount(b"vmsandbox", os.fsencode(target), b"tmpfs", flags, options.encode())
    _check(result, f"cannot mount a file system for device nodes at {target}")


def detach(target: Path) -> None:
    """Take away what is mounted at `target` last, following no link; it ends with its last user (umount2(2))."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW), f"cannot unmount {target}")


def enter(namespace: int) -> None:
    """Move the calling thread, no other of its process, to a mount namespace and its root directory (setns(2))."""
    _check(_libc.unshare(_CLONE_FS), "cannot leave the process's root directory")
    _check(_libc.setns(namespace, _CLONE_NEWNS), "cannot enter virtiofsd's mount namespace")


def _call(number: int, *arguments: object) -> int:
    """syscall(2), with integers passed as longs."""
    passed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *passed)
    return result


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise FailedPrecondition(f"{what}: {os.strerror(number)}", hint=hint_for_rights(number))
