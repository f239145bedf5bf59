"""Waiting for a device that the host plugs in: the kernel announces it, and then it is looked for again."""

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_UEVENT_GROUP = 1
_UEVENT_SIZE = 8192
_NETLINK_KOBJECT_UEVENT = 15


async def appears(find: Callable[[], T | None]) -> T:
    """Return what `find` gives as soon as that is not None; the caller's deadline bounds the wait."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_KOBJECT_UEVENT) as uevents:
        uevents.setblocking(False)
        uevents.bind((0, _UEVENT_GROUP))
        while (found := find()) is None:
            await _uevent(uevents)
        return found


async def _uevent(uevents: socket.socket) -> None:
    try:
        await asyncio.get_running_loop().sock_recv(uevents, _UEVENT_SIZE)
    except OSError:
        return  # ENOBUFS: events were lost, so look again
