"""Namespaces of single threads (namespaces(7)): what such a thread starts is in them, other threads are not."""

import ctypes
import os
from pathlib import Path

UTS, IPC, NETWORK = 0x04000000, 0x08000000, 0x40000000
"""Kinds of namespaces (CLONE_NEW* of sched.h)."""

_MS_BIND = 4096

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(*kinds: int) -> None:
    """Put this thread into new namespaces of these kinds (unshare(2)); it never comes back. Raises OSError."""
    _check(_libc.unshare(sum(kinds)))


def enter(path: Path, kind: int) -> None:
    """Put this thread into the namespace at `path`, which is of this kind (setns(2)). Raises OSError."""
    with path.open("rb") as namespace:
        _check(_libc.setns(namespace.fileno(), kind))


def name_network(path: Path) -> None:
    """Mount this thread's network namespace at a new file; the directory it is in stays as it is mounted.

    ip-netns(8) mounts the directory over itself, which doubles the mounts that are in it: their files cannot be removed
    any more. Raises OSError.
    """
    path.parent.mkdir(mode=0o755, exist_ok=True)
    path.touch(0o444, exist_ok=False)
    _check(_libc.mount(b"/proc/thread-self/ns/net", os.fsencode(path), b"none", ctypes.c_ulong(_MS_BIND), None))


def _check(status: int) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
