"""The tree of files that an image's layers make, in memory: `merge` reads the layers into one."""

from vmsandbox.images.rootfs.tree.merging import merge
from vmsandbox.images.rootfs.tree.node import TreeNode
from vmsandbox.images.rootfs.tree.tree import FileTree

__all__ = ["FileTree", "TreeNode", "merge"]
