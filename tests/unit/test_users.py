from pathlib import Path

import pytest

from vmsandbox.claims import UserRange
from vmsandbox.errors import ResourceExhausted
from vmsandbox.process import Account


def test_each_sandbox_has_two_users_and_no_others_have_them(tmp_path: Path) -> None:
    users = UserRange(tmp_path, range(1000, 1005), 108)
    one, two = users.allocate("one"), users.allocate("two")
    assert users.allocate("one") == one
    numbers = [account.uid for each in (one, two) for account in (each.qemu, each.vsock)]
    assert sorted(numbers) == [1000, 1001, 1002, 1003], "an odd number at the end is nobody's"
    assert one.qemu.gid == two.qemu.gid == 108
    assert one.vsock == Account(one.qemu.uid + 1, one.qemu.uid + 1)


def test_users_are_given_back_by_the_sandbox_alone_also_in_another_process(tmp_path: Path) -> None:
    UserRange(tmp_path, range(1000, 1002), 108).allocate("one")
    with pytest.raises(ResourceExhausted, match="pairs of user ids"):
        UserRange(tmp_path, range(1000, 1002), 108).allocate("two")
    UserRange(tmp_path, range(1000, 1002), 108).release("one")
    assert UserRange(tmp_path, range(1000, 1002), 108).allocate("two").qemu.uid == 1000
