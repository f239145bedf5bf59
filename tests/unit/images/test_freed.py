"""The bytes that removing images frees: what images share is not counted."""

from vmsandbox.config import ImagesConfig
from vmsandbox.images.image_store import ImageStore
from vmsandbox.images.store.index import ImageRecord
from vmsandbox.images.store.layout import StoreLayout

BLOCK = 4096


def digest(letter):
    return "sha256:" + letter * 64


async def test_shared_layers_and_root_images_count_with_the_last_image_alone(tmp_path):
    layout = StoreLayout.at(tmp_path / "store", ImagesConfig())
    layout.make()
    for letter in "abcdef":
        layout.blobs.path(digest(letter)).write_bytes(b"x" * BLOCK)
    shared, own = digest("c"), digest("d")
    for letter in "12":
        layout.roots.path(digest(letter)).write_bytes(b"x" * 2 * BLOCK)
    first = ImageRecord(digest("a"), digest("b"), (shared,), digest("1"))
    second = ImageRecord(digest("e"), digest("f"), (shared, own), digest("2"))
    for record in (first, second):
        await layout.index.update(lambda index, record=record: index.adding(record))
    store = ImageStore(layout)
    assert store.freed_by([first.id]) == (2 * BLOCK, 2 * BLOCK)
    assert store.freed_by([first.id, second.id]) == (6 * BLOCK, 4 * BLOCK)
    assert store.freed_by([]) == (0, 0)
