"""Where in the tree one is on the way to a name."""

from vmsandbox.images.oci import Malformed
from vmsandbox.images.rootfs.tar import MAX_PATH, quoted_name
from vmsandbox.images.rootfs.tree.node import TreeNode

_MAX_HOPS = 40
"""Symbolic links on the way to one name, as many as Linux follows."""


class TreeCursor:
    """A directory, and how it was reached from the root, which no step leads out of."""

    def __init__(self, root: TreeNode, after: int) -> None:
        """Begin at the root; `after` bytes of the name are to come behind the directory."""
        self._root = root
        self._after = self._length = after
        self._path: list[tuple[bytes, TreeNode]] = []

    @property
    def node(self) -> TreeNode:
        """The directory."""
        return self._path[-1][1] if self._path else self._root

    @property
    def names(self) -> list[bytes]:
        """The directory's name, without symbolic links."""
        return [name for name, _ in self._path]

    def step(self, part: bytes) -> None:
        """Go up for `..`, stay for anything else."""
        if part == b".." and self._path:
            self._length -= len(self._path.pop()[0]) + 1

    def down(self, name: bytes, directory: TreeNode) -> None:
        """Go into a directory.

        Raises:
            Malformed: Linux cannot have a name so long.
        """
        self._path.append((name, directory))
        self._length += len(name) + 1
        if self._length > MAX_PATH:
            raise Malformed(f"the name that ends in {quoted_name(name)} is longer than {MAX_PATH} bytes")

    def follow(self, target: bytes, hops: int) -> list[bytes]:
        """The parts of the way that a symbolic link in this directory says, the `hops`th of the name.

        Raises:
            Malformed: there are too many.
        """
        if hops > _MAX_HOPS:
            raise Malformed(f"there are too many symbolic links on the way to {quoted_name(target)}")
        if target.startswith(b"/"):
            self._path, self._length = [], self._after
        return target.split(b"/")
