"""Removing what no image needs: blobs, root images, and what a pull that was killed left behind."""

from vmsandbox.fs.locks import locked
from vmsandbox.images.parts import Parts
from vmsandbox.process.removal import remove_tree_blocking


def collect(parts: Parts) -> None:
    """Clear the store of all that its index does not name; root images that are held stay.

    The caller holds the store's lock alone: nobody is adding to it.
    """
    with locked(parts.index.lock):
        images = parts.index.read().images
        _collect_blobs(parts, frozenset(blob for record in images for blob in record.blobs))
        parts.roots.collect(frozenset(record.chain_id for record in images))
        for path in parts.staging.iterdir():
            remove_tree_blocking(path)  # what skopeo has made may be nested deeper than Python's own can go
        for path in [*parts.locks.iterdir(), *parts.directory.glob(".tmp*")]:
            path.unlink()


def _collect_blobs(parts: Parts, used: frozenset[str]) -> None:
    kept = {parts.blobs.path(digest) for digest in used}
    for path in (parts.blobs.directory / "sha256").iterdir():
        if path not in kept:
            path.unlink()
