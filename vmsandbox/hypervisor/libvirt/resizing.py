"""Gives a running machine more or less memory, or leaves it what it has."""

import asyncio
import contextlib
import time

from vmsandbox import aio
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, VmsandboxError
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.connection import LibvirtConnection
from vmsandbox.hypervisor.libvirt.monitor import ask
from vmsandbox.hypervisor.sizes import target_memory
from vmsandbox.hypervisor.xml import HotPlug, requested_xml

QUIET = 30.0
"""Seconds without any progress after which a guest is not waited for any longer."""
LONGEST = 100.0
"""Seconds that a guest has in all for one step."""
_UNDONE = 10.0
"""Seconds that a guest has to take its old size again."""
_PAUSE = 0.05
"""Seconds between looks. There is no event to wait for: QEMU tells of memory at most once in a second."""

_MIB = 1024 * 1024


class Resizing:
    """One machine that is resized. Its guest is asked, and may refuse, hang, or do something else."""

    def __init__(self, connection: LibvirtConnection, name: str) -> None:
        """Nothing is asked yet."""
        self._connection = connection
        self._name = name

    async def memory(self) -> int:
        """Return the bytes that the guest has now. Raises NotFound."""
        return (await self._look())[1]

    async def resize(self, asked: int) -> int:
        """Change the memory. Errors and result: as `Hypervisor.resize`."""
        hot_plug, has = await self._look()
        target = target_memory(self._name, asked, least=hot_plug.booted, most=hot_plug.most)
        if target != has:
            try:
                await self._change_memory(hot_plug, has, target)
            except BaseException:
                await aio.to_its_end(self._undo(hot_plug, has))
                raise
        return target

    async def _change_memory(self, hot_plug: HotPlug, before: int, target: int) -> None:
        await self._request_memory(target - hot_plug.booted)
        reached = await self._follow(target, QUIET)
        if reached == target:
            return
        grow, changed = target > before, reached != before
        done, wanted = abs(reached - before) // _MIB, abs(target - before) // _MIB
        if grow or not changed:
            verb = "taken" if grow else "given back"
            raise DeadlineExceeded(
                f"the guest of {self._name} has {verb} {done} of {wanted} MiB, and no more for {QUIET:g} s"
            )
        raise FailedPrecondition(
            f"the guest of {self._name} uses memory that it was to give back: {done} of {wanted} MiB were free"
        )

    async def _undo(self, hot_plug: HotPlug, had: int) -> None:
        """Ask for the old size. A guest that has not answered before is not waited for long."""
        with contextlib.suppress(VmsandboxError):
            await self._request_memory(had - hot_plug.booted)
            await self._follow(had, _UNDONE)

    async def _follow(self, wanted: int, quiet: float) -> int:
        """Return the memory when it is that much, has not changed for `quiet` seconds, or took `LONGEST`."""
        begin = changed = time.monotonic()
        memory = await self.memory()
        while memory != wanted and time.monotonic() < min(changed + quiet, begin + LONGEST):
            await asyncio.sleep(_PAUSE)
            if (now := await self.memory()) != memory:
                memory, changed = now, time.monotonic()
        return memory

    async def _look(self) -> tuple[HotPlug, int]:
        return await self._connection.call(
            f"libvirt cannot report the size of machine {self._name}", lambda opened: _look_at(opened, self._name)
        )

    async def _request_memory(self, memory: int) -> None:
        await self._connection.call(
            f"libvirt cannot change the memory of machine {self._name}",
            lambda opened: _request(opened, self._name, memory),
        )


def _look_at(connection: "libvirt.virConnect", name: str) -> tuple[HotPlug, int]:
    """Return what a domain can have, and the bytes of memory that its guest has now.

    QEMU is asked how much memory the guest has: libvirt learns of it by an event, which QEMU holds back for a second.
    """
    domain = connection.lookupByName(name)
    hot_plug = HotPlug.of(domain.XMLDesc())
    plugged = _plugged_memory(domain) if hot_plug.booted < hot_plug.most else 0
    return hot_plug, hot_plug.booted + plugged


def _request(connection: "libvirt.virConnect", name: str, memory: int) -> None:
    """Have the guest plug in, or give back, memory until it has that many bytes beyond those that it booted with."""
    domain = connection.lookupByName(name)
    domain.updateDeviceFlags(requested_xml(domain.XMLDesc(), memory), libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _plugged_memory(domain: "libvirt.virDomain") -> int:
    devices = ask(domain, "query-memory-devices")
    return sum(int(device["data"]["size"]) for device in devices if device["type"] == "virtio-mem")
