"""The tree of files that an image's layers make, in memory: names and attributes, and where each content is.

Layers are applied as OCI image-spec layer.md says ("Applying Changesets"), where it is silent as containerd does with
its overlayfs snapshots, in which a layer is unpacked without sight of the lower ones: names and links never lead out of
the tree; a symbolic link of the same layer is followed within it, and one of a lower layer makes way for a directory.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from vmsandbox.images.oci import Malformed
from vmsandbox.images.rootfs.layers import Budget
from vmsandbox.images.rootfs.tar import FileKind, TarEntry, check_name, path_components, quoted_name
from vmsandbox.images.rootfs.tree.node import TreeNode
from vmsandbox.images.rootfs.tree.tree_cursor import TreeCursor


@dataclass(slots=True)
class FileTree:
    """The files of the layers applied so far."""

    budget: Budget
    root: TreeNode = field(default_factory=TreeNode.directory)
    _touched: dict[TreeNode, set[bytes]] = field(default_factory=dict, init=False)
    """The names in each directory that the current layer has made or passed through: whiteouts do not remove them."""
    _pruned: set[TreeNode] = field(default_factory=set, init=False)
    """Directories in which nothing is left that the present layer has not touched: to look once is enough."""
    _aside: dict[bytes, TreeNode] = field(default_factory=dict, init=False)
    """The current layer's files of aufs itself, by name."""
    _layer: int = field(default=-1, init=False)

    def next_layer(self) -> None:
        """Begin with the next layer."""
        self._layer += 1
        self._touched.clear()
        self._pruned.clear()
        self._aside.clear()

    def find(self, path: bytes) -> TreeNode | None:
        """The node of this name, symbolic links in its directory part followed, or None."""
        parts = path_components(path)
        if not parts:
            return self.root
        parent = self._walk(parts[:-1], create=False)
        return parent.entries.get(parts[-1]) if parent else None

    def add(self, entry: TarEntry) -> None:
        """Put an entry of the present layer in its place, over what is there.

        An entry for the root itself is ignored, as in containerd: the root of every container has the mode 0755.

        Raises:
            Malformed: it is impossible: a hard link to nothing, a name too long.
            ResourceExhausted: the budget is spent.
        """
        parts = path_components(entry.name)
        if not parts:
            return
        parent = self._parent(parts)
        name = parts[-1]
        old = parent.entries.get(name)
        if entry.kind is FileKind.DIRECTORY and old and old.kind is FileKind.DIRECTORY:
            old.describe(entry)
        else:
            parent.entries[name] = self._made(entry)
        self._touch(parent, name)

    def set_aside(self, entry: TarEntry) -> None:
        """Keep a file of aufs's own from the tree; hard links of the present layer may lead to it.

        aufs has a file with several names in `.wh..wh.plnk`, and layers that it made have hard links to there.

        Raises:
            Malformed: it is a hard link to nothing.
        """
        if entry.kind is not FileKind.DIRECTORY:
            self._aside[b"/".join(path_components(entry.name))] = self._made(entry)

    def whiteout(self, directory: bytes, name: bytes) -> None:
        """Remove what lower layers have under a name (OCI layer.md, "Whiteouts")."""
        parent = self._enter(path_components(directory))
        if name in self._touched.get(parent, ()):
            self._prune(parent.entries[name])
        else:
            parent.entries.pop(name, None)

    def opaque(self, directory: bytes) -> None:
        """Remove what lower layers have in a directory (OCI layer.md, "Opaque Whiteout")."""
        self._prune(self._enter(path_components(directory)))

    def _prune(self, top: TreeNode) -> None:
        """Remove all beneath a node that the present layer has not touched."""
        waiting = [top]
        while waiting:
            node = waiting.pop()
            if node.children is not None and node not in self._pruned:
                self._pruned.add(node)
                touched = self._touched.get(node, ())
                node.children = {name: child for name, child in node.children.items() if name in touched}
                waiting += node.children.values()

    def _made(self, entry: TarEntry) -> TreeNode:
        return self._linked(entry) if entry.kind is FileKind.HARD_LINK else TreeNode.of(entry, self._layer)

    def _linked(self, entry: TarEntry) -> TreeNode:
        """The node that a hard link names; its own attributes are the node's already, as with umoci."""
        node = self._aside.get(b"/".join(path_components(entry.linkname))) or self.find(entry.linkname)
        if node is None or node.kind is FileKind.DIRECTORY:
            raise Malformed(
                f"its hard link {quoted_name(entry.name)} is to {quoted_name(entry.linkname)}, which is not a file"
            )
        return node

    def _parent(self, parts: list[bytes]) -> TreeNode:
        check_name(parts[-1])
        return self._enter(parts[:-1], after=len(parts[-1]))

    def _enter(self, parts: list[bytes], after: int = 0) -> TreeNode:
        """The directory that the present layer passes through, made where it is missing.

        `after` bytes of a name are to come behind it.
        """
        directory = self._walk(parts, create=True, after=after)
        assert directory is not None
        return directory

    def _walk(self, parts: list[bytes], *, create: bool, after: int = 0) -> TreeNode | None:
        """The directory of this name, symbolic links followed.

        With `create` it is made where it is missing, also in the place of a lower layer's symbolic link.
        """
        here = TreeCursor(self.root, after)
        waiting, hops = deque(parts), 0
        while waiting:
            part = waiting.popleft()
            child = here.node.entries.get(part)
            if part in (b"", b".", b".."):
                here.step(part)
            elif child and child.kind is FileKind.SYMLINK and not (create and self._is_lower(here.node, part)):
                hops += 1
                waiting.extendleft(reversed(here.follow(child.target, hops)))
            elif create:
                here.down(part, self._entered(here, part))
            elif child and child.kind is FileKind.DIRECTORY:
                here.down(part, child)
            else:
                return None
        return here.node

    def _entered(self, here: TreeCursor, name: bytes) -> TreeNode:
        """The directory of this name, which the present layer passes through; made if it is missing."""
        child = here.node.entries.get(name)
        if child is None or child.kind is not FileKind.DIRECTORY:
            child = self._implied(here, name)
            here.node.entries[name] = child
        self._touch(here.node, name)
        return child

    def _implied(self, here: TreeCursor, name: bytes) -> TreeNode:
        """A directory that no entry makes, but that one lies in; it takes a file's place, as with umoci.

        In the place of a lower layer's symbolic link to a directory it has the attributes of that directory.
        """
        check_name(name)
        self.budget.spend_file(name)
        model = self._walk([*here.names, name], create=False) if name in here.node.entries else None
        return replace(model, children={}) if model else TreeNode.directory()

    def _is_lower(self, directory: TreeNode, name: bytes) -> bool:
        return name not in self._touched.get(directory, ())

    def _touch(self, directory: TreeNode, name: bytes) -> None:
        self._touched.setdefault(directory, set()).add(name)

    def walk(self) -> Iterator[tuple[bytes, TreeNode]]:
        """All nodes but the root with their names, each directory before what is in it, sorted."""
        waiting = [(b"", self.root)]
        while waiting:
            path, node = waiting.pop()
            if node is not self.root:
                yield path, node
            if node.children:
                prefix = path + b"/" if path else b""
                waiting += [(prefix + name, node.children[name]) for name in sorted(node.children, reverse=True)]
