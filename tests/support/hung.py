"""A file system that hangs: FUSE whose server never answers, as a dead NFS server does not.

Whoever looks at it waits until the descriptor of its connection is closed; then all calls fail (ENOTCONN).
"""

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def hung(target: Path) -> Iterator[Path]:
    """Mount it at `target`, which is made, for as long as the context lasts; what waits for it then comes back."""
    target.mkdir(parents=True)
    connection = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={connection},rootmode={stat.S_IFDIR:o},user_id=0,group_id=0,allow_other"
        if _libc.mount(b"hung", os.fsencode(target), b"fuse", ctypes.c_ulong(0), options.encode()):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))
        try:
            yield target
        finally:
            os.close(connection)
            connection = -1
            _libc.umount2(os.fsencode(target), _MNT_DETACH)
    finally:
        if connection >= 0:
            os.close(connection)
