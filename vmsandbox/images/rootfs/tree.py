"""The tree of files that an image's layers make, in memory: names and attributes, and where each content is.

Layers are applied as OCI image-spec layer.md says ("Applying Changesets"), where it is silent as umoci and containerd
do: names and links never lead out of the tree, symbolic links in a name's directory part are followed within it.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from vmsandbox.images.documents import Malformed
from vmsandbox.images.rootfs.entry import Content, Entry, Kind
from vmsandbox.images.rootfs.layers import Budget
from vmsandbox.images.rootfs.xattrs import kept

_MAX_NAME, _MAX_PATH, _MAX_HOPS = 255, 4095, 40
_MAX_XATTRS, _RECORD = 48 << 10, 24
"""Bytes: tar2sqfs takes a PAX header of 64 KiB, in which there are two names of 4 KiB, too; and what a record adds."""


@dataclass(slots=True, eq=False)
class Node:
    """A file of the tree: what Linux calls an inode. Hard links are several names for one node."""

    kind: Kind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    target: bytes = b""
    """Of symbolic links."""
    device: tuple[int, int] = (0, 0)
    layer: int = 0
    """Which layer has the content."""
    content: Content | None = None
    children: "dict[bytes, Node] | None" = None
    """Of directories."""

    @classmethod
    def directory(cls) -> "Node":
        """A directory that no layer describes."""
        return cls(Kind.DIRECTORY, children={})

    def describe(self, entry: Entry) -> None:
        """Take over an entry's attributes.

        Raises:
            Malformed: its extended attributes are larger than a root image can hold.
        """
        self.mode, self.uid, self.gid = entry.mode, entry.uid, entry.gid
        self.mtime, self.xattrs = entry.mtime, kept(entry.xattrs, entry.kind)
        if sum(len(key) + len(value) + _RECORD for key, value in self.xattrs) > _MAX_XATTRS:
            raise Malformed(f"the extended attributes of {shown(entry.name)} are larger than {_MAX_XATTRS} bytes")


@dataclass(slots=True)
class Tree:
    """The files of the layers applied so far."""

    budget: Budget
    root: Node = field(default_factory=Node.directory)
    _touched: dict[Node, set[bytes]] = field(default_factory=dict, init=False)
    """By directory, the names that the present layer has made or passed through: whiteouts do not apply to them."""
    _layer: int = field(default=-1, init=False)

    def next_layer(self) -> None:
        """What is applied from now on belongs to the layer above."""
        self._layer += 1
        self._touched.clear()

    def find(self, path: bytes) -> Node | None:
        """The node of this name, symbolic links in its directory part followed, or None."""
        parts = clean(path)
        if not parts:
            return self.root
        parent = self._walk(parts[:-1], create=False)
        return _children(parent).get(parts[-1]) if parent else None

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
        old = _children(parent).get(name)
        if entry.kind is Kind.DIRECTORY and old and old.kind is Kind.DIRECTORY:
            old.describe(entry)
        else:
            _children(parent)[name] = self._linked(entry) if entry.kind is Kind.HARD_LINK else self._made(entry)
        self._touch(parent, name)

    def whiteout(self, directory: bytes, name: bytes) -> None:
        """Remove what lower layers have under a name (OCI layer.md, "Whiteouts")."""
        parent = self._walk(clean(directory), create=False)
        if parent is None or name not in _children(parent):
            return
        if name in self._touched.get(parent, ()):
            self._prune(_children(parent)[name])
        else:
            del _children(parent)[name]

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
            if node.children is not None:
                touched = self._touched.get(node, ())
                node.children = {name: child for name, child in node.children.items() if name in touched}
                waiting += node.children.values()

    def _describe_root(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise Malformed("it replaces the root directory by something else")
        self.root.describe(entry)

    def _made(self, entry: Entry) -> Node:
        node = Node(entry.kind, layer=self._layer, content=entry.content, device=entry.device)
        node.describe(entry)
        if entry.kind is Kind.DIRECTORY:
            node.children = {}
        elif entry.kind is Kind.SYMLINK:
            node.target = _checked_target(entry)
        return node

    def _linked(self, entry: Entry) -> Node:
        """The node that a hard link names; its own attributes are the node's already, as with umoci."""
        node = self.find(entry.linkname)
        if node is None or node.kind is Kind.DIRECTORY:
            raise Malformed(f"its hard link {shown(entry.name)} is to {shown(entry.linkname)}, which is no file")
        return node

    def _parent(self, parts: list[bytes]) -> Node:
        if len(parts[-1]) > _MAX_NAME:
            raise Malformed(f"the name {shown(parts[-1])} is longer than {_MAX_NAME} bytes")
        parent = self._walk(parts[:-1], create=True, after=len(parts[-1]))
        assert parent is not None
        return parent

    def _walk(self, parts: list[bytes], *, create: bool, after: int = 0) -> Node | None:
        """The directory of this name, with symbolic links followed; made where it is missing if `create` says so."""
        path: list[tuple[bytes, Node]] = []
        waiting, hops, length = deque(parts), 0, after
        while waiting:
            part = waiting.popleft()
            node = path[-1][1] if path else self.root
            if part in (b"", b"."):
                continue
            if part == b"..":
                length -= len(path.pop()[0]) + 1 if path else 0
                continue
            child = _children(node).get(part)
            if child and child.kind is Kind.SYMLINK:
                hops += 1
                if hops > _MAX_HOPS:
                    raise Malformed(f"there are too many symbolic links on the way to {shown(b'/'.join(parts))}")
                if child.target.startswith(b"/"):
                    path, length = [], after
                waiting.extendleft(reversed(child.target.split(b"/")))
                continue
            if child is None or child.kind is not Kind.DIRECTORY:
                if not create:
                    return None
                child = self._imply(node, part)
            if create:
                self._touch(node, part)
            path.append((part, child))
            length += len(part) + 1
            if length > _MAX_PATH:
                raise Malformed(f"the name {shown(b'/'.join(parts))} is longer than {_MAX_PATH} bytes")
        return path[-1][1] if path else self.root

    def _imply(self, parent: Node, name: bytes) -> Node:
        """A directory that no entry makes, but that one lies in; it takes a file's place, as with umoci."""
        if len(name) > _MAX_NAME:
            raise Malformed(f"the name {shown(name)} is longer than {_MAX_NAME} bytes")
        self.budget.spend_entries()
        node = _children(parent)[name] = Node.directory()
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


def clean(path: bytes) -> list[bytes]:
    """The components of a name, taken from the root: `..` goes up, and stays where there is no more up."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def shown(name: bytes) -> str:
    """A name for an error's text."""
    return repr(name[:200].decode(errors="replace"))


def _children(node: Node) -> dict[bytes, Node]:
    assert node.children is not None
    return node.children


def _checked_target(entry: Entry) -> bytes:
    if not 0 < len(entry.linkname) <= _MAX_PATH:
        raise Malformed(f"the symbolic link {shown(entry.name)} has a target of {len(entry.linkname)} bytes")
    return entry.linkname
