"""The tree of files that an image's layers make, in memory: `merge` reads the layers into one."""

from vmsandbox.images.rootfs.tree.merging import merge
from vmsandbox.images.rootfs.tree.node import Node
from vmsandbox.images.rootfs.tree.tree import Tree

__all__ = ["Node", "Tree", "merge"]
