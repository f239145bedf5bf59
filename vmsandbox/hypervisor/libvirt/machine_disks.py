"""The disks of a machine that runs: plugged in, unplugged, or told another size.

The functions block, and are for `LibvirtConnection.call`; they may raise libvirt's errors.
"""

import asyncio
import contextlib

from vmsandbox.errors import DeadlineExceeded, NotFound, VmsandboxError
from vmsandbox.hypervisor.libvirt import domains
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.connection import LibvirtConnection
from vmsandbox.hypervisor.libvirt.events import DYING, EventHub
from vmsandbox.hypervisor.libvirt.faults import said_by_qemu
from vmsandbox.hypervisor.specification import Disk
from vmsandbox.hypervisor.xml import PluggedDisk, disk_name, disk_xml, free_target, plugged_disks

DETACH_DEADLINE = 20.0
"""Seconds in which a guest lets a device go."""


class MachineDisks:
    """The disks of one machine."""

    def __init__(self, connection: LibvirtConnection, hub: EventHub, name: str) -> None:
        """Nothing is asked yet; both stay the caller's."""
        self._connection = connection
        self._hub = hub
        self._name = name

    async def attach(self, disk: Disk) -> None:
        """Plug a disk in. Raises as `Hypervisor.attach_disk`."""
        await self._connection.call(
            f"libvirt cannot plug disk {disk.serial} into machine {self._name}",
            lambda opened: attach(opened, self._name, disk),
        )

    async def detach(self, serial: str) -> None:
        """Unplug a disk, where there is one. Raises as `Hypervisor.detach_disk`."""
        disk = await self._find(serial)
        if disk is not None:
            await self._detach(disk)

    async def resize(self, serial: str, size: int) -> None:
        """Have the guest know the size of a disk. Raises as `Hypervisor.resize_disk`."""
        await self._connection.call(
            f"libvirt cannot resize disk {serial} of machine {self._name}",
            lambda opened: _resize(opened, self._name, serial, size),
        )

    async def _detach(self, disk: PluggedDisk) -> None:
        failure: VmsandboxError = DeadlineExceeded(f"the guest of {self._name} has not released disk {disk.serial}")
        deadline = DETACH_DEADLINE
        with self._hub.removal(self._name, disk.alias) as removed:
            try:
                await self._connection.call(
                    f"libvirt cannot unplug disk {disk.serial} from machine {self._name}",
                    lambda opened: _ask_to_detach(opened, self._name, disk.alias),
                )
            except VmsandboxError as error:
                failure, deadline = error, DYING
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline):
                    await removed
        if await self._find(disk.serial) is not None:
            raise failure

    async def _find(self, serial: str) -> PluggedDisk | None:
        disks = await self._connection.call(
            f"libvirt cannot list the disks of machine {self._name}", lambda opened: _disks(opened, self._name)
        )
        return next((disk for disk in disks or () if disk.serial == serial), None)


def attach(connection: "libvirt.virConnect", name: str, disk: Disk) -> None:
    """Plug a disk in, unless one of its serial is.

    Raises:
        NotFound: there is no such machine.
        FailedPrecondition: QEMU cannot have the disk, e.g. because its user may not read the file.
    """
    plugged = _disks(connection, name)
    if plugged is None:
        raise NotFound(f"there is no machine {name}")
    if disk.serial not in {known.serial for known in plugged}:
        xml = disk_xml(disk, free_target(plugged))
        try:
            connection.lookupByName(name).attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            raise said_by_qemu(error, f"QEMU does not accept disk {disk.serial} in machine {name}") from None


def _ask_to_detach(connection: "libvirt.virConnect", name: str, alias: str) -> None:
    """Have the guest let a disk go; libvirt's event tells when it has. Succeeds where the machine has ended."""
    with domains.unless_gone():
        connection.lookupByName(name).detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _resize(connection: "libvirt.virConnect", name: str, serial: str, size: int) -> None:
    """Have the guest know the size of a disk, in bytes. Raises NotFound where there is no such machine or disk."""
    plugged = {disk.serial: disk for disk in _disks(connection, name) or ()}
    if serial not in plugged:
        raise NotFound(f"there is no disk {serial} in a machine {name}")
    target, in_bytes = disk_name(plugged[serial].target), libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
    connection.lookupByName(name).blockResize(target, size, in_bytes)


def _disks(connection: "libvirt.virConnect", name: str) -> tuple[PluggedDisk, ...] | None:
    """The disks of a machine; None where there is no such machine."""
    domain = domains.find(connection, name)
    if domain is not None:
        with domains.unless_gone():
            return plugged_disks(domain.XMLDesc())
    return None
