"""Owners of files on the host as the pod sees them: idmapped mounts (mount_setattr(2), CRI Mount.uidMappings)."""

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import IdMapping
from vmsandbox.process import echoing


@contextlib.asynccontextmanager
async def mapping(uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> AsyncIterator[int | None]:
    """A user namespace with these mappings, as a file descriptor; None where there is nothing to map.

    Whoever is `container_id` on the disk is `host_id` in a mount that is mapped by it.

    Raises:
        InvalidArgument: the kernel does not take the mappings (user_namespaces(7)).
    """
    if not uids and not gids:
        yield None
        return
    async with echoing(["unshare", "--user", "cat"]) as pid:
        _map(pid, uids, gids)
        namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield namespace
    finally:
        os.close(namespace)


def name_of(uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> str:
    """A short name of these mappings, which no other ones have; empty where there is nothing to map."""
    if not uids and not gids:
        return ""
    return hashlib.sha256(f"{_lines(uids)}/{_lines(gids)}".encode()).hexdigest()[:16]


def _map(pid: int, uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> None:
    try:
        Path(f"/proc/{pid}/uid_map").write_text(_lines(uids))
        Path(f"/proc/{pid}/gid_map").write_text(_lines(gids))
    except OSError as error:
        raise InvalidArgument(f"cannot map the owners of a volume: {error.strerror}") from None


def _lines(mappings: Sequence[IdMapping]) -> str:
    return "".join(f"{each.container_id} {each.host_id} {each.length}\n" for each in mappings)
