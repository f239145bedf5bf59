"""Which extended attributes of a layer's files become those of the root image's."""

from vmsandbox.images.rootfs.entry import Kind

_KEPT = (b"user.", b"trusted.", b"security.")
"""The namespaces that squashfs has; `system.` (POSIX ACLs) it has not."""
_DROPPED = (b"trusted.overlay.", b"security.selinux", b"security.ima", b"security.evm")
"""Attributes that are dropped: overlayfs would misread them, or they describe the machine that made the image."""
_WITH_USER = (Kind.FILE, Kind.DIRECTORY)
"""xattr(7): other files have no `user.` attributes."""

Xattrs = tuple[tuple[bytes, bytes], ...]


def kept(xattrs: Xattrs, kind: Kind) -> Xattrs:
    """The attributes to keep, sorted."""
    return tuple(sorted((name, value) for name, value in xattrs if _is_kept(name, kind))) if xattrs else ()


def _is_kept(name: bytes, kind: Kind) -> bool:
    if name.startswith(b"user.") and kind not in _WITH_USER:
        return False
    return name.startswith(_KEPT) and not name.startswith(_DROPPED)
