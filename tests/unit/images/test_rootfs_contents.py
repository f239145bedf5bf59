"""The content of layers: decompressed once, and read a second time from a file."""

import gzip
import io
import tempfile

import pytest

from vmsandbox.images.rootfs import contents
from vmsandbox.images.rootfs.contents import Keep, LayerContent

DATA = bytes(range(256)) * 12_000


class Blob(io.BytesIO):
    """A blob that counts the bytes which are read of it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def content(keep: Keep, data: bytes = DATA, *, compressed: bool = True) -> tuple[Blob, LayerContent]:
    blob = Blob(gzip.compress(data) if compressed else data)
    return blob, LayerContent(blob, keep)


def test_a_compressed_layer_is_read_once_and_is_the_same_a_second_time() -> None:
    with tempfile.TemporaryFile() as file:
        keep = Keep(file)
        pairs = [content(keep), content(keep, b"another" * 99)]
        first = [b"".join(layer.pieces()) for _, layer in pairs]
        taken = [blob.taken for blob, _ in pairs]
        assert [b"".join(layer.pieces()) for _, layer in reversed(pairs)] == first[::-1] == [b"another" * 99, DATA]
        assert [blob.taken for blob, _ in pairs] == taken


def test_a_plain_layer_takes_no_room() -> None:
    with tempfile.TemporaryFile() as file:
        _, layer = content(Keep(file), compressed=False)
        assert b"".join(layer.pieces()) == b"".join(layer.pieces()) == DATA
        assert layer.keep.end == 0


def test_what_there_is_no_room_for_is_decompressed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_MOST_KEPT", len(DATA) // 2)
    with tempfile.TemporaryFile() as file:
        keep = Keep(file)
        blob, layer = content(keep)
        assert b"".join(layer.pieces()) == DATA
        taken = blob.taken
        assert b"".join(layer.pieces()) == DATA
        assert blob.taken > taken and keep.end <= len(DATA) // 2


def test_a_layer_that_was_not_read_to_its_end_is_read_from_its_beginning() -> None:
    with tempfile.TemporaryFile() as file:
        _, layer = content(Keep(file))
        next(layer.pieces())
        assert b"".join(layer.pieces()) == b"".join(layer.pieces()) == DATA
