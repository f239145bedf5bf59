"""Whether the user ids of machines' processes are nobody else's on this host.

Whoever has one of them could signal a machine's processes and open its files. They are also the ids of groups.
"""

import contextlib
import grp
import itertools
import pwd
from collections.abc import Iterator
from pathlib import Path

from vmsandbox.config import UsersConfig
from vmsandbox.fs.opening import MEBIBYTE, read_regular, reason
from vmsandbox.model import Finding

_SUBORDINATE = ("subuid", "subgid")


def look(users: UsersConfig, etc: Path = Path("/etc")) -> Finding:
    """Compare the range with accounts, groups, and the ranges that users have for their namespaces (subuid(5)).

    Args:
        users: the range.
        etc: the directory of subuid and subgid. Ranges that a directory service keeps (nsswitch.conf(5)) are not seen.
    """
    numbers = range(users.first, users.first + users.count)
    try:
        taken = next(itertools.chain(_accounts(numbers), _subordinate(numbers, etc)), None)
    except OSError as error:
        return Finding(False, f"{error.filename} cannot be read: {reason(error)}")
    if taken is not None:
        return Finding(
            False, f"{taken} in the range of machines' users, {numbers[0]} to {numbers[-1]}", "set users.first"
        )
    return Finding(True, f"machines' processes run as users {numbers[0]} to {numbers[-1]}, who have no accounts")


def _accounts(numbers: range) -> Iterator[str]:
    yield from (f"the user {user.pw_name} ({user.pw_uid}) is" for user in pwd.getpwall() if user.pw_uid in numbers)
    yield from (f"the group {group.gr_name} ({group.gr_gid}) is" for group in grp.getgrall() if group.gr_gid in numbers)


def _subordinate(numbers: range, etc: Path) -> Iterator[str]:
    for path in (etc / name for name in _SUBORDINATE):
        for owner, theirs in _ranges(path):
            if max(theirs.start, numbers.start) < min(theirs.stop, numbers.stop):
                yield f"ids {theirs.start} to {theirs.stop - 1} of {owner} ({path}) are"


def _ranges(path: Path) -> Iterator[tuple[str, range]]:
    """The lines NAME:FIRST:COUNT; others are passed over, as the programs do that read the file."""
    try:
        lines = read_regular(path, MEBIBYTE, follow=True).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            owner, first, count = line.split(":")
            yield owner, range(int(first), int(first) + int(count))
