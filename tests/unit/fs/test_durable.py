"""Files that are replaced whole: the old content or the new, and nothing else."""

import errno
import os
from pathlib import Path

import pytest

from vmsandbox.fs import durable


@pytest.mark.parametrize("named", [False, True], ids=["", "with a temporary file of its owner's"])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    path = tmp_path / "file"
    durable.replace_whole(path, b"old")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable, "sync_file", full)
    with pytest.raises(OSError, match="No space"):
        durable.replace_whole(path, b"new", temporary=tmp_path / "file.new" if named else None)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_under_the_owner_s_name_is_written_over(tmp_path: Path) -> None:
    temporary = tmp_path / "file.new"
    temporary.write_bytes(b"left by a process that was killed")
    durable.replace_whole(tmp_path / "file", b"new", 0o640, temporary=temporary)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert not temporary.exists()


def test_a_file_system_that_does_not_sync_directories_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(durable, "sync_file", refuse)
    durable.sync_directory(tmp_path)


def test_a_link_is_replaced_over_what_a_kill_left_and_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, temporary = tmp_path / "current", tmp_path / "current.new"
    durable.replace_link(link, "one", temporary=temporary)
    temporary.symlink_to("left by a process that was killed")
    seen = []
    replace = Path.replace

    def look(path: Path, target: Path) -> Path:
        seen.append(link.readlink())
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", look)
    durable.replace_link(link, "two", temporary=temporary)
    assert (seen, link.readlink()) == ([Path("one")], Path("two"))
    assert list(tmp_path.iterdir()) == [link]


def test_a_link_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    link = tmp_path / "current"
    durable.replace_link(link, "one", temporary=tmp_path / "current.new")
    with pytest.raises(OSError, match="name too long"):
        durable.replace_link(link, "x" * 5000, temporary=tmp_path / "current.new")
    assert (link.readlink(), list(tmp_path.iterdir())) == (Path("one"), [link])
