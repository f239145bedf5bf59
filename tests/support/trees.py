"""Directory trees compared entry by entry: what a root image holds, and what others unpack of the same image."""

import hashlib
import os
import stat
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.images import BuiltImage, write_layout
from vmsandbox.images.rootfs.tar.entry import FileKind
from vmsandbox.images.rootfs.tree.node import TreeNode
from vmsandbox.images.rootfs.tree.tree import FileTree


@dataclass(frozen=True)
class File:
    """All of a file that an image keeps."""

    type: int
    mode: int
    uid: int
    gid: int
    mtime: int
    device: int
    content: str
    """A file's digest, a symbolic link's target."""
    xattrs: tuple[tuple[str, bytes], ...]
    links: frozenset[str]
    """All names of the same file."""


def files_of(root: Path) -> dict[str, File]:
    """Every file below a directory, and the directory itself as `.`, by name."""
    found = [root, *(Path(top) / name for top, dirs, files in os.walk(root) for name in dirs + files)]
    paths = [path for path in found if os.path.lexists(path)]  # overlayfs lists whiteouts of no lower layer
    names: dict[int, set[str]] = defaultdict(set)
    for path in paths:
        names[path.lstat().st_ino].add(str(path.relative_to(root)))
    return {str(path.relative_to(root)): _file(path, frozenset(names[path.lstat().st_ino])) for path in paths}


def _file(path: Path, links: frozenset[str]) -> File:
    status = path.lstat()
    xattrs = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(_xattrs(path)))
    return File(
        stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, int(status.st_mtime),
        status.st_rdev, _content(path, status), xattrs, links,
    )  # fmt: skip


def _xattrs(path: Path) -> list[str]:
    return [name for name in os.listxattr(path, follow_symlinks=False) if name != "security.selinux"]


def _content(path: Path, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""


_TYPES = {
    FileKind.FILE: stat.S_IFREG, FileKind.DIRECTORY: stat.S_IFDIR, FileKind.SYMLINK: stat.S_IFLNK,
    FileKind.FIFO: stat.S_IFIFO, FileKind.CHARACTER_DEVICE: stat.S_IFCHR, FileKind.BLOCK_DEVICE: stat.S_IFBLK,
}  # fmt: skip


def files_of_tree(tree: FileTree, tars: Sequence[bytes]) -> dict[str, File]:
    """The same of a merged tree; `tars` are its layers."""
    nodes = {".": tree.root} | {os.fsdecode(name): node for name, node in tree.walk()}
    names: dict[TreeNode, set[str]] = defaultdict(set)
    for name, node in nodes.items():
        names[node].add(name)
    return {name: _of_node(node, frozenset(names[node]), tars) for name, node in nodes.items()}


def _of_node(node: TreeNode, links: frozenset[str], tars: Sequence[bytes]) -> File:
    content = os.fsdecode(node.target)
    if node.content:
        data = tars[node.layer][node.content.offset : node.content.offset + node.content.size]
        content = hashlib.sha256(data).hexdigest()
    mode = 0o777 if node.kind is FileKind.SYMLINK else node.mode
    xattrs = tuple((os.fsdecode(name), value) for name, value in node.xattrs)
    return File(
        _TYPES[node.kind], mode, node.uid, node.gid, node.mtime, os.makedev(*node.device), content, xattrs, links
    )


def unpacked_by_umoci(image: BuiltImage, directory: Path) -> Path:
    """The root file system that umoci makes of an image."""
    layout = write_layout(directory / "layout", {"image": image})
    bundle = directory / "bundle"
    subprocess.run(
        ["umoci", "unpack", "--image", f"{layout}:image", bundle], check=True, capture_output=True, text=True
    )
    return bundle / "rootfs"


def unpacked_root_image(image: Path, directory: Path) -> Path:
    """Return the content of a squashfs image."""
    subprocess.run(["unsquashfs", "-q", "-n", "-d", directory, image], check=True, capture_output=True, text=True)
    return directory
