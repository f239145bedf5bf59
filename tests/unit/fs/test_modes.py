import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsandbox import fs


@pytest.fixture(params=[0o077, 0o022, 0], autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_directory_of_ours_has_its_mode_and_parents_that_can_be_passed(tmp_path: Path) -> None:
    fs.make_directory(tmp_path / "a/b/c", 0o700)
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o711, 0o711, 0o700]


def test_a_directory_of_ours_that_exists_is_corrected_and_its_parents_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a").chmod(0o755)
    (tmp_path / "a/b").chmod(0o777)
    fs.make_directory(tmp_path / "a/b", 0o711)
    assert [mode(tmp_path / name) for name in ("a", "a/b")] == [0o755, 0o711]


def test_a_directory_of_ours_may_be_a_link_to_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    fs.make_directory(tmp_path / "link", 0o711)
    assert mode(tmp_path / "elsewhere") == 0o711


def test_missing_directories_are_made_with_one_mode_and_those_that_exist_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o1777)
    fs.make_missing(tmp_path / "a/b/c", 0o755)
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o1777, 0o755, 0o755]


def test_a_file_is_made_with_its_mode_and_left_alone_where_it_exists(tmp_path: Path) -> None:
    fs.touch(tmp_path / "file", 0o644)
    assert mode(tmp_path / "file") == 0o644
    fs.touch(tmp_path / "file", 0o600)
    assert mode(tmp_path / "file") == 0o644


def test_no_file_is_made_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        fs.touch(tmp_path / "link", 0o600)
    assert not (tmp_path / "elsewhere").exists()


def test_a_mode_is_not_given_to_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="symbolic links"):
        fs.set_mode(tmp_path / "link", 0o666)
    assert mode(tmp_path / "file") == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_gets_its_group_with_its_mode(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fs.set_mode(tmp_path / "file", 0o2640, 12)
    assert (mode(tmp_path / "file"), (tmp_path / "file").stat().st_gid) == (0o2640, 12)
