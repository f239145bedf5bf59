"""Writing the merged tree as one tar archive, in the subset that tar2sqfs reads whole: ustar with PAX records."""

from vmsandbox.images.rootfs.tar import BLOCK, XATTR, FileKind
from vmsandbox.images.rootfs.tree import TreeNode

END = bytes(2 * BLOCK)
_MAX_MTIME = 2**32 - 1
"""Seconds that squashfs has room for."""
_MAX_FIELD = 100
_MAX_ID, _MAX_SIZE = 8**7 - 1, 8**11 - 1
_PAX = b"x"


def member(name: bytes, node: TreeNode) -> bytes:
    """The header of a node, with the PAX records it needs; a file's content comes after it."""
    size = node.content.size if node.content else 0
    return _headers(name, node, node.kind.value, node.target, size)


def hard_link(name: bytes, node: TreeNode, first: bytes) -> bytes:
    """The header of a further name of a node, whose first name is `first`."""
    return _headers(name, node, FileKind.HARD_LINK.value, first, 0, xattrs=False)


def _headers(name: bytes, node: TreeNode, flag: bytes, linkname: bytes, size: int, *, xattrs: bool = True) -> bytes:
    records = b""
    if len(name) > _MAX_FIELD:
        records += _record(b"path", name)
    if len(linkname) > _MAX_FIELD:
        records += _record(b"linkpath", linkname)
    for key, value, limit in ((b"uid", node.uid, _MAX_ID), (b"gid", node.gid, _MAX_ID), (b"size", size, _MAX_SIZE)):
        if value > limit:
            records += _record(key, b"%d" % value)
    if xattrs:
        records += b"".join(_record(XATTR + key, value) for key, value in node.xattrs)
    header = _block(name, node, flag, linkname, size)
    return _extended(records) + header if records else header


def _extended(records: bytes) -> bytes:
    header = _block(b"pax", TreeNode(FileKind.FILE), _PAX, b"", len(records))
    return header + records + bytes(-len(records) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _block(name: bytes, node: TreeNode, flag: bytes, linkname: bytes, size: int) -> bytes:
    major, minor = node.device
    fields = b"%-100.100b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%b" % (
        name[:_MAX_FIELD].ljust(_MAX_FIELD, b"\0"), node.mode, _fitting(node.uid, _MAX_ID), _fitting(node.gid, _MAX_ID),
        _fitting(size, _MAX_SIZE), min(max(node.mtime, 0), _MAX_MTIME), flag,
        linkname[:_MAX_FIELD].ljust(_MAX_FIELD, b"\0"),
    )  # fmt: skip
    block = (fields + b"ustar\x0000").ljust(329, b"\0") + b"%07o\0%07o\0" % (major, minor)
    block = block.ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _fitting(value: int, limit: int) -> int:
    """Return the number for the field; 0 if a PAX record has the number."""
    return value if value <= limit else 0
