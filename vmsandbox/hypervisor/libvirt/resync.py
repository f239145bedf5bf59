"""The ends of machines that libvirt does not tell: of those that ended while it was away.

A libvirt that was just started lists the machines that it has on record, and finds out by and by, in threads of its
own, whose QEMU still runs. The others it forgets without an event (libvirt 9.0).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from vmsandbox import log
from vmsandbox.errors import explained
from vmsandbox.hypervisor.libvirt.events import DYING, EventHub

_log = log.get(__name__)

_PAUSES = (0.0, 1.0, 4.0, 15.0)
"""Seconds before each look, after libvirt was opened."""


async def keep_resyncing(
    hub: EventHub, list_names: Callable[[], Awaitable[tuple[str, ...]]], opened: asyncio.Event
) -> None:
    """Look a few times which machines are there whenever libvirt was opened, and have `hub` tell of those that are not.

    Args:
        hub: of the machines' events.
        list_names: the machines that libvirt has.
        opened: libvirt was opened, again; cleared here.
    """
    while True:
        await opened.wait()
        opened.clear()
        for pause in _PAUSES:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await opened.wait()
                break  # once more from the beginning
            await _look(hub, list_names)


async def _look(hub: EventHub, list_names: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
    before = hub.running()
    try:
        found = await list_names()
    except Exception as error:  # It is going to be looked again.
        _log.warning("not known whether machines ended while libvirt was away: %s", explained(error))
    else:
        await hub.missed(before.difference(found), DYING)
