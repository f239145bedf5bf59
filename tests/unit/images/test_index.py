"""The index of a store: names move between images as tags do, and the file is whole at any moment."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.errors import FailedPrecondition, Internal, InvalidArgument
from vmsandbox.images.store.index import ImageRecord, Index, IndexFile


def record(number: int, *tags: str, digests: tuple[str, ...] = ()) -> ImageRecord:
    digest = f"sha256:{number:064x}"
    return ImageRecord(digest, digest, (), digest, tuple(f"docker.io/library/{tag}" for tag in tags), digests)


def filled(*records: ImageRecord) -> Index:
    index = Index()
    for each in records:
        index = index.adding(each)
    return index


def test_an_image_added_twice_keeps_all_its_names() -> None:
    index = filled(record(1, "a:1", digests=("r/a@x",)), record(1, "b:2", digests=("r/b@y",)))
    assert [r.repo_tags for r in index.images] == [("docker.io/library/a:1", "docker.io/library/b:2")]
    assert index.images[0].repo_digests == ("r/a@x", "r/b@y")


def test_a_tag_moves_to_the_image_that_takes_it() -> None:
    index = filled(record(1, "a:1", "a:2"), record(2, "a:1"))
    old, new = index.find("a:2"), index.find("a:1")
    assert old and new
    assert (old.id, new.id) == (record(1).id, record(2).id)


_records = st.lists(
    st.builds(lambda n, tags: record(n, *tags), st.integers(0, 3), st.lists(st.sampled_from("abcd"), unique=True))
)


@given(_records)
def test_every_tag_names_one_image_and_every_image_is_there_once(records: list[ImageRecord]) -> None:
    index = filled(*records)
    tags = [tag for r in index.images for tag in r.repo_tags]
    assert len(tags) == len(set(tags))
    assert {r.id for r in index.images} == {r.id for r in records}
    assert len({r.id for r in index.images}) == len(index.images)
    for each in records:
        for tag in each.repo_tags:
            assert any(tag in r.repo_tags for r in index.images)


def test_the_beginning_of_an_id_finds_an_image_unless_it_is_that_of_several() -> None:
    index = filled(ImageRecord("sha256:ab" + "0" * 62, "m", (), "c"), ImageRecord("sha256:ac" + "0" * 62, "m", (), "c"))
    found = index.find("ab")
    assert found and found.id.startswith("sha256:ab")
    assert index.find("sha256:ad") is None
    with pytest.raises(InvalidArgument, match="2 images"):
        index.find("a")


def test_a_name_wins_over_the_beginning_of_an_id() -> None:
    index = filled(ImageRecord("sha256:abc" + "0" * 61, "m", (), "c"), record(2, "abc:latest"))
    found = index.find("abc")
    assert found and found.id == record(2).id


def test_a_text_that_is_not_a_name_is_an_error() -> None:
    with pytest.raises(InvalidArgument):
        Index().find("No Name")


async def test_the_index_on_disk_is_what_was_written(tmp_path: Path) -> None:
    file = IndexFile(tmp_path / "index.json")
    assert file.read() == Index()
    await file.update(lambda index: index.adding(record(1, "a:1")))
    assert file.read() == filled(record(1, "a:1"))
    assert file.path.stat().st_mode & 0o777 == 0o600


async def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    file = IndexFile(tmp_path / "index.json")
    await asyncio.gather(*(file.update(lambda index, n=n: index.adding(record(n))) for n in range(20)))  # type: ignore[misc]
    assert len(file.read().images) == 20


def test_an_index_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    file = IndexFile(tmp_path / "index.json")
    file.path.write_text(json.dumps({"version": 99, "images": "other"}))
    with pytest.raises(FailedPrecondition, match="version 99"):
        file.read()


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"images": 1}', b'{"version": "x"}', b'{"unknown": 1}'])
def test_a_damaged_index_is_named(tmp_path: Path, data: bytes) -> None:
    file = IndexFile(tmp_path / "index.json")
    file.path.write_bytes(data)
    with pytest.raises(Internal, match=r"index\.json is damaged"):
        file.read()
