"""Layers for tests: tar archives made by Python's tarfile, entry by entry, also such as no honest program writes."""

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vmsandbox.images.rootfs.contents import Keep, LayerContent
from vmsandbox.images.rootfs.layers import RootLimit
from vmsandbox.images.rootfs.tree.merging import merge
from vmsandbox.images.rootfs.tree.tree import FileTree


@dataclass(frozen=True)
class Member:
    """One entry of a layer."""

    name: str
    type: bytes = tarfile.REGTYPE
    data: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    linkname: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)

    def info(self) -> tarfile.TarInfo:
        info = tarfile.TarInfo(self.name)
        info.type, info.mode, info.uid, info.gid = self.type, self.mode, self.uid, self.gid
        info.mtime, info.linkname, info.size = self.mtime, self.linkname, len(self.data)
        info.devmajor, info.devminor = self.device
        info.pax_headers = {
            f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape") for name, value in self.xattrs.items()
        }
        return info


def file(name: str, data: bytes = b"", **attributes: object) -> Member:
    return Member(name, data=data, **attributes)  # type: ignore[arg-type]


def directory(name: str, mode: int = 0o755, **attributes: object) -> Member:
    return Member(name, tarfile.DIRTYPE, mode=mode, **attributes)  # type: ignore[arg-type]


def symlink(name: str, target: str) -> Member:
    return Member(name, tarfile.SYMTYPE, mode=0o777, linkname=target)


def hard_link(name: str, target: str, **attributes: object) -> Member:
    return Member(name, tarfile.LNKTYPE, linkname=target, **attributes)  # type: ignore[arg-type]


def whiteout(name: str) -> Member:
    head, slash, last = name.rpartition("/")
    return Member(f"{head}{slash}.wh.{last}")


def opaque(name: str) -> Member:
    return Member(f"{name}/.wh..wh..opq")


def layer_tar(members: Sequence[Member], format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for member in members:
            tar.addfile(member.info(), io.BytesIO(member.data))
    return buffer.getvalue()


def unkept(blob: bytes) -> LayerContent:
    """The content of a layer, to be read once."""
    return LayerContent(io.BytesIO(blob), Keep(io.BytesIO()))


def merged_tars(*tars: bytes, limit: RootLimit | None = None) -> FileTree:
    """The tree of these layers; each has the diff_id that it should have."""
    return merge([_digest(tar) for tar in tars], [unkept(tar) for tar in tars], limit or RootLimit())


def merged(*layers: Sequence[Member], limit: RootLimit | None = None) -> FileTree:
    """The tree of layers with these members."""
    return merged_tars(*map(layer_tar, layers), limit=limit)


def names(tree: FileTree) -> list[str]:
    """All names in a tree, sorted."""
    return sorted(name.decode("utf-8", "surrogateescape") for name, _ in tree.walk())


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
