"""Places below a directory are found by names alone: no link, and no name that leads out of it."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from vmsandbox.fs.below import place_below


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """A directory with a file, a FIFO and links in it, opened; nothing else stays open."""
    (tmp_path / "top/a/b").mkdir(parents=True)
    (tmp_path / "top/a/file").write_text("content")
    os.mkfifo(tmp_path / "top/fifo")
    (tmp_path / "top/link").symlink_to("a")
    (tmp_path / "top/a/out").symlink_to("/etc/passwd")
    before = os.listdir("/proc/self/fd")
    fd = os.open(tmp_path / "top", os.O_PATH)
    yield fd
    os.close(fd)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b"], ["a", "file"], ["fifo"]])
def test_a_place_is_what_lies_there_and_nothing_of_it_is_opened(
    directory: int, tmp_path: Path, names: Sequence[str]
) -> None:
    place = place_below(directory, names)
    try:
        assert os.path.samestat(os.fstat(place), tmp_path.joinpath("top", *names).lstat())
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.read(place, 1)
    finally:
        os.close(place)


@pytest.mark.parametrize(
    ("names", "number"),
    [
        (["link"], errno.ELOOP),
        (["a", "out"], errno.ELOOP),
        (["link", "b"], errno.ELOOP),
        (["a", "file", "x"], errno.ENOTDIR),
        (["missing"], errno.ENOENT),
        (["a", "..", "a"], errno.EXDEV),
        (["/etc"], errno.EXDEV),
        (["a/b"], errno.EXDEV),
    ],
)
def test_a_link_and_a_name_that_leads_out_are_refused(directory: int, names: Sequence[str], number: int) -> None:
    with pytest.raises(OSError) as refused:
        place_below(directory, names)
    assert refused.value.errno == number
