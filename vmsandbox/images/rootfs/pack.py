"""The second pass: the merged tree and the files' contents, out of the layers again, as one tar stream."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from vmsandbox.errors import ResourceExhausted
from vmsandbox.images.rootfs.contents import LayerContent
from vmsandbox.images.rootfs.layers import Budget
from vmsandbox.images.rootfs.tar import BLOCK, Content, FileKind, TarStream
from vmsandbox.images.rootfs.tree import FileTree, TreeNode
from vmsandbox.images.rootfs.writer import END, hard_link, member

_ZEROS = bytes(1 << 16)
_MAX_IDS = 65535
"""Different user and group ids that a squashfs holds."""


def pack(tree: FileTree, contents: Sequence[LayerContent], budget: Budget) -> Iterator[bytes]:
    """The tar stream, piece by piece: what has no content sorted by name, then files in their layers' order.

    `contents` are those of the layers that the tree was merged from.

    Raises:
        ResourceExhausted: the files or their names are larger than the budget, or belong to too many users.
    """
    ids = {tree.root.uid, tree.root.gid}
    first: dict[TreeNode, bytes] = {}
    links: list[tuple[bytes, TreeNode]] = []
    yield member(b"./", tree.root)
    for name, node in tree.walk():
        ids |= {node.uid, node.gid}
        budget.spend_memory(len(name))
        if node.kind is not FileKind.DIRECTORY and first.setdefault(node, name) != name:
            links.append((name, node))
        elif node.kind is FileKind.FILE:
            budget.spend_bytes(node.content.size if node.content else 0)
        else:
            yield member(name, node)
    if len(ids) > _MAX_IDS:
        raise ResourceExhausted(f"the image's files belong to more than {_MAX_IDS} users and groups")
    for number, files in groupby(_in_order(first), key=lambda node: node.layer):
        yield from _files(files, first, contents[number])
    for name, node in links:
        yield hard_link(name, node, first[node])
    yield END


def _in_order(nodes: Iterable[TreeNode]) -> list[TreeNode]:
    """The files among the nodes, layer by layer, in the order in which their layer has them.

    Two sorts by a number each take less memory than one by pairs.
    """
    files = sorted((node for node in nodes if node.kind is FileKind.FILE), key=lambda node: _content(node).offset)
    files.sort(key=lambda node: node.layer)
    return files


def _files(files: Iterable[TreeNode], names: Mapping[TreeNode, bytes], layer: LayerContent) -> Iterator[bytes]:
    """The files of one layer, in the order in which it has them."""
    stream = TarStream(layer.pieces())
    for node in files:
        content = _content(node)
        stream.skip(content.offset - stream.position)
        yield member(names[node], node)
        yield from _filled(content, stream)
        yield bytes(-content.size % BLOCK)


def _content(node: TreeNode) -> Content:
    assert node.content is not None
    return node.content


def _filled(content: Content, stream: TarStream) -> Iterator[bytes]:
    """A file's bytes, holes as zeros: tar2sqfs makes holes of them again."""
    end = 0
    for offset, length in ((0, content.size),) if content.pieces is None else content.pieces:
        yield from _holes(offset - end)
        yield from stream.chunks(length)
        end = offset + length
    yield from _holes(content.size - end)


def _holes(size: int) -> Iterator[bytes]:
    while size > 0:
        yield _ZEROS[:size]
        size -= len(_ZEROS)
