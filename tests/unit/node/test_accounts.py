"""Which users of the host `vmsandbox check` finds in the range of machines' users."""

import grp
import pwd
from pathlib import Path

import pytest

from vmsandbox.config import UsersConfig
from vmsandbox.node.check import accounts

USERS = UsersConfig(first=200_000, count=100)


def test_a_range_that_is_nobodys_is_well(tmp_path: Path) -> None:
    """Neighbours are not part of it, nor are an empty range, a comment, and what is not a number."""
    (tmp_path / "subuid").write_text(
        "ann:100000:100000\nbob:200100:65536\neve:200000:0\neve:200050:0\n# x\ntom:x:1\n\na:200000\n"
    )
    found = accounts.look(USERS, tmp_path)
    assert (found.ok, found.message) == (
        True, "machines' processes run as users 200000 to 200099, who have no accounts",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["subuid", "subgid"])
@pytest.mark.parametrize("theirs", [(134_465, 65_536), (200_099, 65_536), (200_010, 1), (0, 1 << 32)])
def test_ids_that_a_user_has_for_namespaces_are_told(tmp_path: Path, name: str, theirs: tuple[int, int]) -> None:
    first, count = theirs
    (tmp_path / name).write_text(f"ann:100000:10\nbob:{first}:{count}\n")
    found = accounts.look(USERS, tmp_path)
    assert (found.ok, found.hint) == (False, "set users.first")
    assert found.message == (
        f"ids {first} to {first + count - 1} of bob ({tmp_path / name}) are "
        "in the range of machines' users, 200000 to 200099"
    )


def test_an_account_in_the_range_is_told(tmp_path: Path) -> None:
    user = pwd.getpwnam("nobody")
    found = accounts.look(UsersConfig(first=user.pw_uid, count=2), tmp_path)
    assert not found.ok
    assert found.message.startswith(f"the user nobody ({user.pw_uid}) is in the range of machines' users")


def test_a_group_in_the_range_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grp, "getgrall", lambda: [grp.struct_group(("staff", "x", USERS.first, []))])
    found = accounts.look(USERS, tmp_path)
    assert not found.ok
    assert found.message.startswith(f"the group staff ({USERS.first}) is in the range of machines' users")


def test_ranges_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "subgid").mkdir()
    found = accounts.look(USERS, tmp_path)
    assert (found.ok, found.message) == (
        False, f"{tmp_path / 'subgid'} cannot be read: it is a directory, not a regular file",
    )  # fmt: skip
