"""Reading the layers, from the lowest up, into one tree."""

from collections.abc import Iterable, Sequence

from vmsandbox.errors import VmsandboxError
from vmsandbox.images.oci import Malformed
from vmsandbox.images.rootfs.contents import LayerContent
from vmsandbox.images.rootfs.layers import Budget, RootLimit
from vmsandbox.images.rootfs.tar import CheckedStream, TarEntry, path_components, quoted_name, read_entries
from vmsandbox.images.rootfs.tree.tree import FileTree

_WHITEOUT = b".wh."
_META = _WHITEOUT + _WHITEOUT
_OPAQUE = _META + b".opq"


def merge(diff_ids: Sequence[str], contents: Iterable[LayerContent], limit: RootLimit) -> FileTree:
    """The tree that layers of these diff_ids make.

    Each of their contents is read to its end before the next is asked for, which may not be there yet.

    Raises:
        Malformed: a layer is damaged or makes no sense; the error names it.
        Internal: a layer is not what its diff_id says.
        ResourceExhausted: the image is larger than the limit.
    """
    budget = Budget(limit)
    tree = FileTree(budget)
    for number, (diff_id, content) in enumerate(zip(diff_ids, contents, strict=True), 1):
        try:
            tree.next_layer()
            _apply(tree, diff_id, CheckedStream(content.pieces(), budget))
        except VmsandboxError as error:
            raise error.at(f"layer {number} of {len(diff_ids)}") from None
    return tree


def _apply(tree: FileTree, diff_id: str, checked: CheckedStream) -> None:
    stream = checked.open()
    for entry in read_entries(stream, tree.budget):
        apply_entry(tree, entry)
    stream.drain()
    checked.check(diff_id)


def apply_entry(tree: FileTree, entry: TarEntry) -> None:
    """Apply one entry, which may be a whiteout, to the tree."""
    parts = path_components(entry.name)
    name = parts[-1] if parts else b""
    directory = b"/".join(parts[:-1])
    if name == _OPAQUE:
        tree.opaque(directory)
    elif any(part.startswith(_META) for part in parts):  # aufs's own
        tree.set_aside(entry)
    elif name.startswith(_WHITEOUT):
        tree.whiteout(directory, _whited_out(name))
    else:
        tree.add(entry)


def _whited_out(name: bytes) -> bytes:
    target = name.removeprefix(_WHITEOUT)
    if target in (b"", b".", b".."):
        raise Malformed(f"its whiteout {quoted_name(name)} names no file")
    return target
