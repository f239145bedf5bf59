"""Machines as libvirt's domains. All of them are transient: a machine that has ended is gone."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator

from vmsandbox import aio
from vmsandbox.errors import AlreadyExists, DeadlineExceeded, VmsandboxError
from vmsandbox.hypervisor import vcpus
from vmsandbox.hypervisor.base import Accelerator, Disk, MachineEvent, MachineSpec, MachineState
from vmsandbox.hypervisor.libvirt import domains
from vmsandbox.hypervisor.libvirt.apart import apart
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.connection import Connection
from vmsandbox.hypervisor.libvirt.events import EventHub
from vmsandbox.hypervisor.libvirt.qemu_processes import QemuProcesses
from vmsandbox.hypervisor.libvirt.resync import DYING, keep_resyncing
from vmsandbox.hypervisor.xml import PluggedDisk, domain_xml, security_models
from vmsandbox.model import MachineUsage

DETACH_DEADLINE = 20.0
"""Seconds in which a guest lets a disk go."""


class LibvirtHypervisor:
    """See `base.Hypervisor`. `open` makes one; machines go on when its context ends."""

    def __init__(self, connection: Connection, hub: EventHub, models: tuple[str, ...]) -> None:
        """Work on an open connection, whose callbacks feed `hub`; both stay the caller's.

        Args:
            connection: to libvirt.
            hub: of the connection's events.
            models: its security drivers.
        """
        self._connection = connection
        self._hub = hub
        self._models = models
        self.apart = connection.embedded
        """Whether QEMUs are started in namespaces of their own, that of the network given by `NetworkDevice`."""
        self._processes = QemuProcesses()
        self._plugging: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, uri: str) -> AsyncIterator["LibvirtHypervisor"]:
        """The machines of a libvirt, for as long as the context lasts. Arguments and errors as `Connection.opened`."""
        hub, opened = EventHub(), asyncio.Event()
        async with Connection.opened(uri, hub.subscribe, opened.set) as connection:
            models = await connection.call(
                "libvirt cannot tell its capabilities", lambda client: security_models(client.getCapabilities())
            )
            hypervisor = cls(connection, hub, models)
            hub.found(await hypervisor.list_names())
            opened.set()
            async with aio.attendant(keep_resyncing(hub, hypervisor.list_names, opened), f"machines of {uri}"):
                yield hypervisor

    async def create(self, spec: MachineSpec) -> None:
        """Define and start a machine; see `Hypervisor.create`."""
        xml = domain_xml(spec, self._models)
        self._hub.expect(spec.name)
        try:
            await self._connection.call(
                f"libvirt cannot start machine {spec.name}",
                lambda opened: self._create(opened, spec, xml),
                repeatable=False,
            )
        except AlreadyExists:
            self._hub.forget(spec.name)
            raise
        except BaseException:
            await aio.to_its_end(self._undo(spec))
            raise
        self._hub.started(spec.name)

    async def destroy(self, name: str) -> None:
        """End a machine; see `Hypervisor.destroy`."""
        await self._connection.call(f"libvirt cannot end machine {name}", lambda opened: domains.destroy(opened, name))
        await self._hub.destroyed(name, DYING)
        self._plugging.pop(name, None)

    async def state(self, name: str) -> MachineState:
        """Return the state of a machine; see `Hypervisor.state`."""
        return await self._connection.call(
            f"libvirt cannot tell what machine {name} does", lambda opened: domains.state(opened, name)
        )

    async def usage(self, name: str) -> MachineUsage:
        """Return the usage of a machine; see `Hypervisor.usage`."""
        return await asyncio.to_thread(self._processes.usage, name)

    async def list_names(self) -> tuple[str, ...]:
        """Return the names of our machines; see `Hypervisor.list_names`."""
        return await self._connection.call("libvirt cannot list machines", domains.names)

    async def attach_disk(self, name: str, disk: Disk) -> None:
        """Plug in a disk; see `Hypervisor.attach_disk`."""
        async with self._plugging[name]:
            await self._connection.call(
                f"libvirt cannot plug disk {disk.serial} into machine {name}",
                lambda opened: domains.attach(opened, name, disk),
            )

    async def detach_disk(self, name: str, serial: str) -> None:
        """Unplug a disk; see `Hypervisor.detach_disk`."""
        async with self._plugging[name]:
            disk = await self._find_disk(name, serial)
            if disk is not None:
                await self._detach(name, disk)

    async def resize_disk(self, name: str, serial: str, size: int) -> None:
        """Change the size of a disk; see `Hypervisor.resize_disk`."""
        async with self._plugging[name]:
            await self._connection.call(
                f"libvirt cannot resize disk {serial} of machine {name}",
                lambda opened: domains.resize(opened, name, serial, size),
            )

    async def most_vcpus(self, accelerator: Accelerator) -> int:
        """Return the largest number of vCPUs; see `Hypervisor.most_vcpus`."""
        version = await self._connection.call("libvirt cannot tell QEMU's version", domains.qemu_version)
        return vcpus.most_vcpus(accelerator, version)

    async def version(self) -> str:
        """Return the versions of libvirt and QEMU; see `Hypervisor.version`."""
        return await self._connection.call("libvirt cannot tell its version", domains.version)

    def events(self) -> AsyncIterator[MachineEvent]:
        """Yield events of machines; see `Hypervisor.events`."""
        return self._hub.listen()

    def resumed(self) -> AsyncIterator[str]:
        """Yield the names of machines that go on after a pause; see `Hypervisor.resumed`."""
        return self._hub.resumed()

    def _create(self, opened: "libvirt.virConnect", spec: MachineSpec, xml: str) -> None:
        if not self.apart:
            domains.create(opened, spec.name, xml)
        else:
            network = spec.network.namespace if spec.network is not None else None
            apart(lambda: domains.create(opened, spec.name, xml), network)

    async def _detach(self, name: str, disk: PluggedDisk) -> None:
        failure: VmsandboxError = DeadlineExceeded(f"the guest of {name} has not let disk {disk.serial} go")
        deadline = DETACH_DEADLINE
        with self._hub.removal(name, disk.alias) as removed:
            try:
                await self._connection.call(
                    f"libvirt cannot unplug disk {disk.serial} from machine {name}",
                    lambda opened: domains.ask_to_detach(opened, name, disk.alias),
                )
            except VmsandboxError as error:
                failure, deadline = error, DYING
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline):
                    await removed
        if await self._find_disk(name, disk.serial) is not None:
            raise failure

    async def _find_disk(self, name: str, serial: str) -> PluggedDisk | None:
        disks = await self._connection.call(
            f"libvirt cannot tell the disks of machine {name}", lambda opened: domains.disks(opened, name)
        )
        return next((disk for disk in disks or () if disk.serial == serial), None)

    async def _undo(self, spec: MachineSpec) -> None:
        """End what a failed or cancelled `create` may have left; a machine of others would have another UUID."""
        with contextlib.suppress(VmsandboxError):
            await self._connection.call(
                f"libvirt cannot end machine {spec.name}",
                lambda opened: domains.destroy(opened, spec.name, spec.uuid),
            )
        self._hub.forget(spec.name)
