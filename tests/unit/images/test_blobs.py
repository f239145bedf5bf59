"""Blobs that a program of another user has made are taken over: nobody may change them once they have been checked."""

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from vmsandbox.errors import Internal, InvalidArgument
from vmsandbox.images.oci.manifest import Descriptor
from vmsandbox.images.store.blobs import Blobs, become_ours

CONTENT = b"a layer" * 1000
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
LAYER = Descriptor("application/vnd.oci.image.layer.v1.tar", DIGEST, len(CONTENT))


@pytest.fixture
def store(tmp_path: Path) -> Blobs:
    (tmp_path / "store/sha256").mkdir(parents=True)
    (tmp_path / "staging").mkdir()
    return Blobs(tmp_path / "store")


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    path = tmp_path / "fetched"
    path.write_bytes(CONTENT)
    path.chmod(0o644)
    return path


def test_a_file_of_nobody_else_is_moved(store: Blobs, fetched: Path, tmp_path: Path) -> None:
    inode = fetched.stat().st_ino
    store.adopt(fetched, LAYER, tmp_path / "staging", moved=True)
    kept = store.path(DIGEST).stat()
    assert (kept.st_ino, kept.st_mode & 0o777, kept.st_uid) == (inode, 0o600, os.geteuid())
    assert store.holds(LAYER) and not fetched.exists()


@contextmanager
def opened(path: Path) -> Iterator[None]:
    with path.open("r+b"):
        yield


@contextmanager
def mapped(path: Path) -> Iterator[None]:
    with path.open("r+b") as file:
        mapping = mmap.mmap(file.fileno(), 0)
    with mapping:
        yield


@contextmanager
def linked(path: Path) -> Iterator[None]:
    path.with_name("other").hardlink_to(path)
    yield


@pytest.mark.parametrize("hold", [opened, mapped, linked])
def test_a_file_that_somebody_may_still_change_is_copied(
    store: Blobs, fetched: Path, tmp_path: Path, hold: Callable[[Path], AbstractContextManager[None]]
) -> None:
    inode = fetched.stat().st_ino
    with hold(fetched):
        store.adopt(fetched, LAYER, tmp_path / "staging", moved=True)
    assert store.path(DIGEST).stat().st_ino != inode
    assert store.read(DIGEST) == CONTENT


def test_a_reader_does_not_matter(fetched: Path) -> None:
    with fetched.open("rb"):
        assert become_ours(fetched)


def test_a_users_own_file_stays_as_it_is(store: Blobs, fetched: Path, tmp_path: Path) -> None:
    store.adopt(fetched, LAYER, tmp_path / "staging", moved=False)
    assert fetched.stat().st_mode & 0o777 == 0o644
    assert store.holds(LAYER)


def test_a_file_of_another_size_is_not_read(store: Blobs, fetched: Path, tmp_path: Path) -> None:
    os.truncate(fetched, 1 << 40)
    with pytest.raises(Internal, match="7000 as the manifest says"):
        store.adopt(fetched, LAYER, tmp_path / "staging", moved=True)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/hostname", path)])
def test_what_is_not_a_file_is_refused(
    store: Blobs, tmp_path: Path, make: Callable[[Path], object], fetched: Path
) -> None:
    fetched.unlink()
    make(fetched)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        store.adopt(fetched, LAYER, tmp_path / "staging", moved=True)
    assert not store.holds(LAYER)
