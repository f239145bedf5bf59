"""Machines as libvirt's domains. All of them are transient: a machine that has ended is gone."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from vmsandbox import aio
from vmsandbox.config import MOST_VCPUS
from vmsandbox.errors import AlreadyExists, DeadlineExceeded, FailedPrecondition, VmsandboxError
from vmsandbox.hypervisor.base import Accelerator, Disk, Hypervisor, MachineEvent, MachineSpec, MachineState
from vmsandbox.hypervisor.libvirt import domains
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.connection import LibvirtConnection, Revive
from vmsandbox.hypervisor.libvirt.events import EventHub
from vmsandbox.hypervisor.libvirt.qemu_processes import QemuProcesses
from vmsandbox.hypervisor.libvirt.resync import DYING, keep_resyncing
from vmsandbox.hypervisor.xml import PluggedDisk, domain_xml, security_models
from vmsandbox.model import MachineUsage
from vmsandbox.process import IPC, NETWORK, UTS, enter, unshare

DETACH_DEADLINE = 20.0
"""Seconds in which a guest lets a disk go."""


class LibvirtHypervisor(Hypervisor):
    """The machines of one libvirt. `open` makes it; the machines go on when its context ends."""

    def __init__(self, connection: LibvirtConnection, hub: EventHub, models: tuple[str, ...]) -> None:
        """Work on an open connection, whose callbacks feed `hub`; both stay the caller's.

        Args:
            connection: to libvirt.
            hub: of the connection's events.
            models: its security drivers.
        """
        self.uri = connection.uri
        self._connection = connection
        self._hub = hub
        self._models = models
        self.apart = connection.embedded
        """Whether QEMUs are started in namespaces of their own, that of the network given by `NetworkDevice`."""
        self._processes = QemuProcesses()
        self._plugging: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, uri: str, revive: Revive | None = None) -> AsyncIterator["LibvirtHypervisor"]:
        """The machines of a libvirt, while the context lasts. Arguments and errors: `LibvirtConnection.opened`."""
        hub, opened = EventHub(), asyncio.Event()
        async with LibvirtConnection.opened(uri, hub.subscribe, opened.set, revive) as connection:
            models = await connection.call(
                "libvirt cannot report its capabilities", lambda client: security_models(client.getCapabilities())
            )
            hypervisor = cls(connection, hub, models)
            hub.found(await hypervisor.list_names())
            opened.set()
            async with aio.attendant(keep_resyncing(hub, hypervisor.list_names, opened), f"machines of {uri}"):
                yield hypervisor

    @override
    async def create(self, spec: MachineSpec) -> None:
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

    @override
    async def destroy(self, name: str) -> None:
        await self._connection.call(f"libvirt cannot end machine {name}", lambda opened: domains.destroy(opened, name))
        await self._hub.destroyed(name, DYING)
        self._plugging.pop(name, None)

    @override
    async def state(self, name: str) -> MachineState:
        return await self._connection.call(
            f"libvirt cannot report the state of machine {name}", lambda opened: domains.state(opened, name)
        )

    @override
    async def usage(self, name: str) -> MachineUsage:
        return await asyncio.to_thread(self._processes.usage, name)

    @override
    async def list_names(self) -> tuple[str, ...]:
        return await self._connection.call("libvirt cannot list machines", domains.names)

    @override
    async def attach_disk(self, name: str, disk: Disk) -> None:
        async with self._plugging[name]:
            await self._connection.call(
                f"libvirt cannot plug disk {disk.serial} into machine {name}",
                lambda opened: domains.attach(opened, name, disk),
            )

    @override
    async def detach_disk(self, name: str, serial: str) -> None:
        async with self._plugging[name]:
            disk = await self._find_disk(name, serial)
            if disk is not None:
                await self._detach(name, disk)

    @override
    async def resize_disk(self, name: str, serial: str, size: int) -> None:
        async with self._plugging[name]:
            await self._connection.call(
                f"libvirt cannot resize disk {serial} of machine {name}",
                lambda opened: domains.resize(opened, name, serial, size),
            )

    @override
    async def most_vcpus(self, accelerator: Accelerator) -> int:
        version = await self._connection.call("libvirt cannot report QEMU's version", domains.qemu_version)
        return most_vcpus(accelerator, version)

    @override
    async def version(self) -> str:
        return await self._connection.call("libvirt cannot report its version", domains.version)

    @override
    def events(self) -> AsyncIterator[MachineEvent]:
        return self._hub.listen()

    @override
    def resumed(self) -> AsyncIterator[str]:
        return self._hub.resumed()

    def _create(self, opened: "libvirt.virConnect", spec: MachineSpec, xml: str) -> None:
        if not self.apart:
            domains.create(opened, spec.name, xml)
        else:
            network = spec.network.namespace if spec.network is not None else None
            apart(lambda: domains.create(opened, spec.name, xml), network)

    async def _detach(self, name: str, disk: PluggedDisk) -> None:
        failure: VmsandboxError = DeadlineExceeded(f"the guest of {name} has not released disk {disk.serial}")
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
            f"libvirt cannot list the disks of machine {name}", lambda opened: domains.disks(opened, name)
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


_RACE_MENDED = 8_001_000
"""The first QEMU (8.1) whose emulated vCPUs see each other's changes to code in order, as libvirt writes versions."""


def most_vcpus(accelerator: Accelerator, qemu: int) -> int:
    """The most vCPUs that a machine may have without its guest crashing because of it.

    QEMU before 8.1 emulates each vCPU in a thread of its own and has a race between them: a guest's kernel that patches
    its own code runs into its own breakpoint ("Oops: int3") and panics. One vCPU has nobody to race with. All vCPUs in
    one thread would do as well, but run no faster than one vCPU, and libvirt has no setting for it.

    Args:
        accelerator: how the machine runs.
        qemu: QEMU's version, major * 1,000,000 + minor * 1,000 + release (virConnectGetVersion).
    """
    return 1 if accelerator is Accelerator.TCG and qemu < _RACE_MENDED else MOST_VCPUS


T = TypeVar("T")


def apart(work: Callable[[], T], network: Path | None) -> T:
    """Return the result of `work`, done in a thread that has left the host's network, IPC and UTS namespaces.

    What an embedded libvirt starts for that work has left them as well: QEMU is forked from the thread that creates its
    machine. Libvirt itself has no setting for it; a libvirtd starts QEMU where it is itself. A PID namespace is not
    among them: libvirt starts QEMU by way of a process that ends at once, which would be the namespace's first and take
    all of it along.

    Args:
        work: blocks.
        network: the network namespace to work in; None: a new one, empty.

    Raises:
        FailedPrecondition: the namespaces cannot be made.
    """
    with ThreadPoolExecutor(1, "apart") as thread:
        try:
            thread.submit(_leave, network).result()
        except OSError as error:
            raise FailedPrecondition(f"QEMU's namespaces cannot be made: {error}") from None
        return thread.submit(work).result()


def _leave(network: Path | None) -> None:
    if network is None:
        unshare(IPC, UTS, NETWORK)
    else:
        unshare(IPC, UTS)
        enter(network, NETWORK)
