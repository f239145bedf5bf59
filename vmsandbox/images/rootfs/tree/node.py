"""A file of the merged tree."""

from dataclasses import dataclass

from vmsandbox.images.oci import Malformed
from vmsandbox.images.rootfs.tar import MAX_PATH, Content, FileKind, TarEntry, quoted_name

_MAX_XATTRS, _RECORD = 48 << 10, 24
"""Bytes: tar2sqfs takes a PAX header of 64 KiB, in which there are two names of 4 KiB, too; and what a record adds."""


@dataclass(slots=True, eq=False)
class TreeNode:
    """A file of the tree: what Linux calls an inode. Hard links are several names for one node."""

    kind: FileKind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    target: bytes = b""
    """The target of a symbolic link."""
    device: tuple[int, int] = (0, 0)
    layer: int = 0
    """Which layer has the content."""
    content: Content | None = None
    children: "dict[bytes, TreeNode] | None" = None
    """The children of a directory."""

    @classmethod
    def directory(cls) -> "TreeNode":
        """A directory that no layer describes."""
        return cls(FileKind.DIRECTORY, children={})

    @classmethod
    def of(cls, entry: TarEntry, layer: int) -> "TreeNode":
        """The node that an entry of a layer makes; no hard link.

        Raises:
            Malformed: its attributes are larger than a root image can hold.
        """
        node = cls(entry.kind, layer=layer, content=entry.content, device=entry.device)
        node.describe(entry)
        if entry.kind is FileKind.DIRECTORY:
            node.children = {}
        elif entry.kind is FileKind.SYMLINK:
            node.target = _checked_target(entry)
        return node

    @property
    def entries(self) -> "dict[bytes, TreeNode]":
        """The children; only directories have some."""
        assert self.children is not None
        return self.children

    def describe(self, entry: TarEntry) -> None:
        """Take over an entry's attributes.

        Raises:
            Malformed: its extended attributes are larger than a root image can hold.
        """
        self.mode, self.uid, self.gid = entry.mode, entry.uid, entry.gid
        self.mtime, self.xattrs = entry.mtime, kept_xattrs(entry.xattrs, entry.kind)
        if sum(len(key) + len(value) + _RECORD for key, value in self.xattrs) > _MAX_XATTRS:
            raise Malformed(f"the extended attributes of {quoted_name(entry.name)} are larger than {_MAX_XATTRS} bytes")


def _checked_target(entry: TarEntry) -> bytes:
    if not 0 < len(entry.linkname) <= MAX_PATH:
        raise Malformed(f"the symbolic link {quoted_name(entry.name)} has a target of {len(entry.linkname)} bytes")
    return entry.linkname


_KEPT = (b"user.", b"trusted.", b"security.")
"""The namespaces that squashfs has; `system.` (POSIX ACLs) it does not have."""
_DROPPED = (b"trusted.overlay.", b"security.selinux", b"security.ima", b"security.evm")
"""Attributes that are dropped: overlayfs would misread them, or they describe the machine that made the image."""
_WITH_USER = (FileKind.FILE, FileKind.DIRECTORY)
"""xattr(7): other files have no `user.` attributes."""

Xattrs = tuple[tuple[bytes, bytes], ...]


def kept_xattrs(xattrs: Xattrs, kind: FileKind) -> Xattrs:
    """The attributes to keep, sorted."""
    return tuple(sorted((name, value) for name, value in xattrs if _is_kept(name, kind))) if xattrs else ()


def _is_kept(name: bytes, kind: FileKind) -> bool:
    if name.startswith(b"user.") and kind not in _WITH_USER:
        return False
    return name.startswith(_KEPT) and not name.startswith(_DROPPED)
