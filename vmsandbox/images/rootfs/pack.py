"""The second pass: the merged tree and the files' contents, out of the layers again, as one tar stream."""

from collections.abc import Iterator, Sequence
from typing import IO

from vmsandbox.errors import ResourceExhausted
from vmsandbox.images.rootfs.compression import pieces
from vmsandbox.images.rootfs.entry import Content, Kind
from vmsandbox.images.rootfs.header import BLOCK
from vmsandbox.images.rootfs.layers import Budget
from vmsandbox.images.rootfs.node import Node
from vmsandbox.images.rootfs.stream import Stream
from vmsandbox.images.rootfs.tree import Tree
from vmsandbox.images.rootfs.writer import END, hard_link, member

_ZEROS = bytes(1 << 16)
_MAX_IDS = 65535
"""Different user and group ids that a squashfs holds."""


def pack(tree: Tree, blobs: Sequence[IO[bytes]], budget: Budget) -> Iterator[bytes]:
    """The tar stream, piece by piece: what has no content sorted by name, then files in their layers' order.

    `blobs` are the open files of the layers that the tree was merged from.

    Raises:
        ResourceExhausted: the files are larger than the budget, or belong to too many users.
    """
    ids = {tree.root.uid, tree.root.gid}
    files: dict[Node, bytes] = {}
    links: list[tuple[bytes, bytes, Node]] = []
    yield member(b"./", tree.root)
    for name, node, first in _named(tree):
        ids |= {node.uid, node.gid}
        budget.spend_entries(1 + len(name) // 1024)
        if first != name:
            links.append((name, first, node))
        elif node.kind is Kind.FILE:
            budget.spend_bytes(node.content.size if node.content else 0)
            files[node] = name
        else:
            yield member(name, node)
    if len(ids) > _MAX_IDS:
        raise ResourceExhausted(f"the image's files belong to more than {_MAX_IDS} users and groups")
    for number, blob in enumerate(blobs):
        yield from _files({n: name for n, name in files.items() if n.layer == number}, blob)
    for name, first, node in links:
        yield hard_link(name, node, first)
    yield END


def _named(tree: Tree) -> Iterator[tuple[bytes, Node, bytes]]:
    """Every name with its node and the node's first name."""
    first: dict[Node, bytes] = {}
    for name, node in tree.walk():
        yield name, node, name if node.kind is Kind.DIRECTORY else first.setdefault(node, name)


def _files(files: dict[Node, bytes], blob: IO[bytes]) -> Iterator[bytes]:
    """The files of one layer, in the order in which it has them."""
    stream = Stream(pieces(blob))
    for node in sorted(files, key=lambda node: _content(node).offset):
        content = _content(node)
        stream.skip(content.offset - stream.position)
        yield member(files[node], node)
        yield from _filled(content, stream)
        yield bytes(-content.size % BLOCK)


def _content(node: Node) -> Content:
    assert node.content is not None
    return node.content


def _filled(content: Content, stream: Stream) -> Iterator[bytes]:
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
