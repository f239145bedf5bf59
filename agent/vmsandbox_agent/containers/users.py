"""The user of a process: names are looked up in the container's own /etc/passwd and /etc/group.

The container's root is hostile: no link leads out of it, nothing but a regular file is read, and not much of it.
"""

import os
import stat
from pathlib import Path

from vmsandbox.protocol.messages import MAX_GROUPS, ProcessUser, User
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.syscalls import open_in_root, opened

_MAX_FILE = 4 * 1024 * 1024
_MAX_ID = 2**32 - 2


def resolve_user(root: Path, user: User) -> ProcessUser:
    """Look up `user` in the container root `root`.

    The primary group is among the additional ones, as if a login had set them (CVE-2023-25173). Where the image's USER
    names a group, the groups that the image's /etc/group has the user in are left out, as containerd does.

    Raises:
        AgentError: a name is unknown, or an id out of range.
    """
    name, _, group = user.user.partition(":")
    name = name or "0"
    passwd = _records(root, "/etc/passwd", 4)
    entry = _find(passwd, name)
    uid = _id(entry[2] if entry else name or "0", f"the image's /etc/passwd has no user {name!r}")
    gid = _gid(root, user.group or group, entry)
    groups = {gid, *user.supplemental_groups}
    if user.merge_image_groups and entry is not None and not group:
        groups |= _memberships(root, entry[0])
    if len(groups) > MAX_GROUPS:
        raise AgentError("invalid_argument", f"user {name!r} is in {len(groups)} groups; {MAX_GROUPS} are possible")
    return ProcessUser(uid, gid, tuple(sorted(groups)))


def _gid(root: Path, group: str, entry: list[str] | None) -> int:
    if not group:
        return _id(entry[3], "the image's /etc/passwd is malformed") if entry else 0
    known = None if group.isdecimal() else _find(_records(root, "/etc/group", 3), group)
    return _id(known[2] if known else group, f"the image's /etc/group has no group {group!r}")


def _memberships(root: Path, name: str) -> set[int]:
    return {
        int(record[2])
        for record in _records(root, "/etc/group", 4)
        if name in record[3].split(",") and _is_id(record[2])
    }


def _find(records: list[list[str]], wanted: str) -> list[str] | None:
    """The record of that name, or else of that id."""
    by_name = (record for record in records if record[0] == wanted)
    by_id = (record for record in records if record[2] == wanted)
    return next(by_name, None) or next(by_id, None)


def _id(text: str, otherwise: str) -> int:
    if not _is_id(text):
        raise AgentError("invalid_argument", otherwise)
    return int(text)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _MAX_ID


def _records(root: Path, path: str, width: int) -> list[list[str]]:
    """The lines of a colon-separated file that have at least `width` fields; none where there is no such file."""
    lines = _read(root, path).decode(errors="replace").splitlines()
    return [record for line in lines if len(record := line.split(":")) >= width]


def _read(root: Path, path: str) -> bytes:
    try:
        with opened(root) as directory:
            fd = open_in_root(directory, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return b""
    with os.fdopen(fd, "rb") as file:
        return file.read(_MAX_FILE) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
