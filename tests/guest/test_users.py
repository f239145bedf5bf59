"""Users are resolved in a root that may be hostile."""

import os
from pathlib import Path

import pytest

from vmsandbox.protocol.messages import User
from vmsandbox_agent.containers.users import resolve_user
from vmsandbox_agent.errors import AgentError

PASSWD = "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n1000:x:7:8::/:/bin/sh\nbroken:x:abc:1::/:\nshort:x\n"
GROUP = "root:x:0:\nvideo:x:44:web,other\nbad:x:99999999999:web\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


def resolved(root: Path, user: User) -> tuple[int, int, list[int]]:
    found = resolve_user(root, user)
    return found.uid, found.gid, list(found.groups)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (User(), (0, 0, [0])),
        (User("web"), (33, 34, [34, 44])),
        (User("33"), (33, 34, [34, 44])),
        (User("1000"), (7, 8, [8])),  # A name of digits is a name first.
        (User("web:video"), (33, 44, [44])),  # The image names the group: the user gets no others.
        (User("web:0"), (33, 0, [0])),
        (User("web:0", supplemental_groups=(9,)), (33, 0, [0, 9])),
        (User("web", group="5"), (33, 5, [5, 44])),
        (User("4294967294:1"), (4294967294, 1, [1])),
    ],
)
def test_names_and_ids_are_resolved(root: Path, user: User, expected: tuple[int, int, list[int]]) -> None:
    assert resolved(root, user) == expected


@pytest.mark.parametrize("user", ["nobody", "-1", "4294967295", "99999999999", "1.5", "٣", "broken", "short", "web:no"])
def test_what_is_neither_a_known_name_nor_an_id_is_refused(root: Path, user: str) -> None:
    with pytest.raises(AgentError) as refused:
        resolve_user(root, User(user))
    assert refused.value.code == "invalid_argument"


def test_without_the_files_ids_still_work(tmp_path: Path) -> None:
    assert resolved(tmp_path, User()) == (0, 0, [0])
    assert resolved(tmp_path, User(":5")) == (0, 5, [5])
    assert resolved(tmp_path, User("12:13", supplemental_groups=(9,))) == (12, 13, [9, 13])
    assert resolved(tmp_path, User()) == (0, 0, [0])
    with pytest.raises(AgentError, match="no user 'web'"):
        resolve_user(tmp_path, User("web"))


def test_links_stay_within_the_root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "passwd"
    outside.write_text("web:x:0:0::/:\n")
    for target in (str(outside), os.path.relpath(outside, root / "etc"), "/proc/self/root" + str(outside)):
        (root / "etc/passwd").unlink()
        (root / "etc/passwd").symlink_to(target)
        with pytest.raises(AgentError, match="no user 'web'"):
            resolve_user(root, User("web"))


def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "etc/passwd").rename(root / "users")
    (root / "etc/passwd").symlink_to("/users")
    assert resolved(root, User("web"))[0] == 33


def test_a_pipe_is_not_waited_on(root: Path) -> None:
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")
    assert resolved(root, User("5")) == (5, 0, [0])


def test_only_the_beginning_of_a_huge_file_is_read(root: Path) -> None:
    with (root / "etc/passwd").open("a") as file:
        file.truncate(1 << 40)
    assert resolved(root, User("web"))[0] == 33
