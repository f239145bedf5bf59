"""The tree of files that an image's layers make, in memory: names and attributes, and where each content is.

Layers are applied as OCI image-spec layer.md says ("Applying Changesets"), where it is silent as umoci and containerd
do: names and links never lead out of the tree, symbolic links in a name's directory part are followed within it.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from vmsandbox.images.documents import Malformed
from vmsandbox.images.rootfs.entry import Entry, Kind
from vmsandbox.images.rootfs.layers import Budget
from vmsandbox.images.rootfs.names import check_name, clean, shown
from vmsandbox.images.rootfs.node import Node
from vmsandbox.images.rootfs.place import Place


@dataclass(slots=True)
class Tree:
    """The files of the layers applied so far."""

    budget: Budget
    root: Node = field(default_factory=Node.directory)
    _touched: dict[Node, set[bytes]] = field(default_factory=dict, init=False)
    """By directory, the names that the present layer has made or passed through: whiteouts do not apply to them."""
    _pruned: set[Node] = field(default_factory=set, init=False)
    """Directories in which nothing is left that the present layer has not touched: to look once is enough."""
    _layer: int = field(default=-1, init=False)

    def next_layer(self) -> None:
        """What is applied from now on belongs to the layer above."""
        self._layer += 1
        self._touched.clear()
        self._pruned.clear()

    def find(self, path: bytes) -> Node | None:
        """The node of this name, symbolic links in its directory part followed, or None."""
        parts = clean(path)
        if not parts:
            return self.root
        parent = self._walk(parts[:-1], create=False)
        return parent.entries.get(parts[-1]) if parent else None

    def add(self, entry: Entry) -> None:
        """Put an entry of the present layer in its place, over what is there.

        Raises:
            Malformed: it cannot be: the root replaced by a file, a hard link to nothing, a name too long.
            ResourceExhausted: the budget is spent.
        """
        parts = clean(entry.name)
        if not parts:
            self._describe_root(entry)
            return
        parent = self._parent(parts)
        name = parts[-1]
        old = parent.entries.get(name)
        if entry.kind is Kind.DIRECTORY and old and old.kind is Kind.DIRECTORY:
            old.describe(entry)
        else:
            parent.entries[name] = self._linked(entry) if entry.kind is Kind.HARD_LINK else Node.of(entry, self._layer)
        self._touch(parent, name)

    def whiteout(self, directory: bytes, name: bytes) -> None:
        """Remove what lower layers have under a name (OCI layer.md, "Whiteouts")."""
        parent = self._walk(clean(directory), create=False)
        if parent is None or name not in parent.entries:
            return
        if name in self._touched.get(parent, ()):
            self._prune(parent.entries[name])
        else:
            del parent.entries[name]

    def opaque(self, directory: bytes) -> None:
        """Remove what lower layers have in a directory (OCI layer.md, "Opaque Whiteout")."""
        parent = self._walk(clean(directory), create=False)
        if parent:
            self._prune(parent)

    def _prune(self, top: Node) -> None:
        """Remove all beneath a node that the present layer has not touched."""
        waiting = [top]
        while waiting:
            node = waiting.pop()
            if node.children is not None and node not in self._pruned:
                self._pruned.add(node)
                touched = self._touched.get(node, ())
                node.children = {name: child for name, child in node.children.items() if name in touched}
                waiting += node.children.values()

    def _describe_root(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise Malformed("it replaces the root directory by something else")
        self.root.describe(entry)

    def _linked(self, entry: Entry) -> Node:
        """The node that a hard link names; its own attributes are the node's already, as with umoci."""
        node = self.find(entry.linkname)
        if node is None or node.kind is Kind.DIRECTORY:
            raise Malformed(f"its hard link {shown(entry.name)} is to {shown(entry.linkname)}, which is no file")
        return node

    def _parent(self, parts: list[bytes]) -> Node:
        check_name(parts[-1])
        parent = self._walk(parts[:-1], create=True, after=len(parts[-1]))
        assert parent is not None
        return parent

    def _walk(self, parts: list[bytes], *, create: bool, after: int = 0) -> Node | None:
        """The directory of this name, symbolic links followed; made where it is missing if `create` says so.

        `after` bytes of a name are to come behind it.
        """
        here = Place(self.root, after)
        waiting, hops = deque(parts), 0
        while waiting:
            part = waiting.popleft()
            child = here.node.entries.get(part)
            if part in (b"", b".", b".."):
                here.step(part)
            elif child and child.kind is Kind.SYMLINK:
                hops += 1
                waiting.extendleft(reversed(here.follow(child.target, hops)))
            elif create:
                here.down(part, self._entered(here.node, part))
            elif child and child.kind is Kind.DIRECTORY:
                here.down(part, child)
            else:
                return None
        return here.node

    def _entered(self, parent: Node, name: bytes) -> Node:
        """The directory of this name, which the present layer passes through; made if it is missing."""
        child = parent.entries.get(name)
        self._touch(parent, name)
        return child if child and child.kind is Kind.DIRECTORY else self._imply(parent, name)

    def _imply(self, parent: Node, name: bytes) -> Node:
        """A directory that no entry makes, but that one lies in; it takes a file's place, as with umoci."""
        check_name(name)
        self.budget.spend_entries()
        node = parent.entries[name] = Node.directory()
        return node

    def _touch(self, directory: Node, name: bytes) -> None:
        self._touched.setdefault(directory, set()).add(name)

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """All nodes but the root with their names, each directory before what is in it, sorted."""
        waiting = [(b"", self.root)]
        while waiting:
            path, node = waiting.pop()
            if node is not self.root:
                yield path, node
            if node.children:
                prefix = path + b"/" if path else b""
                waiting += [(prefix + name, node.children[name]) for name in sorted(node.children, reverse=True)]
