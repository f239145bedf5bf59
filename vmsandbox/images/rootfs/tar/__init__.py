"""Tar archives, as layers are: read forwards and with suspicion, and written for tar2sqfs.

`read_entries` yields what an archive says of each file; what it says is bytes, checked, and counted against a `Budget`.
"""

from vmsandbox.images.rootfs.tar.compression import PIECE, is_compressed, uncompressed_pieces
from vmsandbox.images.rootfs.tar.entry import Content, FileKind, TarEntry
from vmsandbox.images.rootfs.tar.header import BLOCK
from vmsandbox.images.rootfs.tar.names import MAX_PATH, check_name, path_components, quoted_name
from vmsandbox.images.rootfs.tar.pax import XATTR
from vmsandbox.images.rootfs.tar.reader import read_entries
from vmsandbox.images.rootfs.tar.stream import CheckedStream, TarStream

__all__ = [
    "BLOCK",
    "MAX_PATH",
    "PIECE",
    "XATTR",
    "CheckedStream",
    "Content",
    "FileKind",
    "TarEntry",
    "TarStream",
    "check_name",
    "is_compressed",
    "path_components",
    "quoted_name",
    "read_entries",
    "uncompressed_pieces",
]
