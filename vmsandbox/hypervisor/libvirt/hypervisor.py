"""Machines as libvirt's domains. All of them are transient: a machine that has ended is gone."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

from typing_extensions import override

from vmsandbox import aio, log
from vmsandbox.errors import AlreadyExists, DeadlineExceeded, VmsandboxError
from vmsandbox.hypervisor.interface import Before, Hypervisor
from vmsandbox.hypervisor.libvirt import domains, file_server, one_thread, plugging
from vmsandbox.hypervisor.libvirt.connection import LibvirtConnection, Revive
from vmsandbox.hypervisor.libvirt.events import DYING, EventHub
from vmsandbox.hypervisor.libvirt.machine_disks import DETACH_DEADLINE, MachineDisks
from vmsandbox.hypervisor.libvirt.qemu_namespaces import QemuNamespaces
from vmsandbox.hypervisor.libvirt.qemu_processes import QemuProcesses
from vmsandbox.hypervisor.libvirt.resizing import Resizing
from vmsandbox.hypervisor.libvirt.resync import keep_resyncing
from vmsandbox.hypervisor.libvirt.saved import SavedState, Saving, key_of, neutral
from vmsandbox.hypervisor.machine_events import MachineEvent, MachineState
from vmsandbox.hypervisor.specification import Disk, MachineSpec
from vmsandbox.hypervisor.xml import Capabilities, domain_xml
from vmsandbox.model import MachineUsage

_log = log.get(__name__)


class LibvirtHypervisor(Hypervisor):
    """The machines of one libvirt. `open` makes it; the machines go on when its context ends."""

    def __init__(self, connection: LibvirtConnection, hub: EventHub, programs: Path | None) -> None:
        """Work on an open connection, whose callbacks feed `hub`; both stay the caller's.

        Args:
            connection: to libvirt.
            hub: of the connection's events.
            programs: as for `open`.
        """
        self.uri = connection.uri
        self._connection = connection
        self._hub = hub
        self._programs = programs
        self._namespaces = QemuNamespaces(apart=connection.embedded)
        self._processes = QemuProcesses()
        self._capabilities: Capabilities | None = None
        self._asking = asyncio.Lock()
        self._plugging: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._resizing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def apart(self) -> bool:
        """Whether QEMUs are started in namespaces of their own, that of the network given by `NetworkDevice`."""
        return self._namespaces.apart

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, uri: str, revive: Revive | None = None, programs: Path | None = None
    ) -> AsyncIterator["LibvirtHypervisor"]:
        """The machines of a libvirt, while the context lasts.

        Args:
            uri: as for `LibvirtConnection.opened`, whose errors are raised.
            revive: as well.
            programs: a directory that programs for QEMU's users are written to; None: no machine has several vCPUs
                where that needs one (`one_thread`).
        """
        hub, opened = EventHub(), asyncio.Event()
        async with LibvirtConnection.opened(uri, hub.subscribe, opened.set, revive) as connection:
            hypervisor = cls(connection, hub, programs)
            hub.found(await hypervisor.list_names())
            opened.set()
            async with aio.attendant(keep_resyncing(hub, hypervisor.list_names, opened), f"machines of {uri}"):
                yield hypervisor

    @override
    async def create(self, spec: MachineSpec, before: Before | None = None) -> None:
        await self._start(spec, before)

    @override
    async def booted(self, name: str) -> None:
        await SavedState(self._connection, name).wait_booted()

    @override
    async def save(self, name: str, path: Path) -> None:
        await Saving(self._connection, self._processes, name).save(path, (await self._libvirt()).qemu_version)
        await self.destroy(name)

    @override
    async def restore(self, spec: MachineSpec, saved: Path, before: Before | None = None) -> None:
        await self._start(spec.unclaimed, before, saved)

    @override
    async def plug(self, spec: MachineSpec) -> None:
        async with self._plugging[spec.name]:
            action = f"libvirt cannot plug its pod's devices into machine {spec.name}"
            _, share = await aio.together(
                self._connection.call(action, lambda opened: plugging.plug_way(opened, spec), repeatable=False),
                file_server.serve(spec),
            )
            try:
                await self._connection.call(
                    action,
                    lambda opened: self._namespaces.where_tap_is(lambda: plugging.plug(opened, spec, share), spec),
                    repeatable=False,
                )
            except VmsandboxError as error:
                error.evidence.update(file_server.evidence(spec))
                raise

    @override
    async def unplug_network(self, name: str) -> None:
        async with self._plugging[name]:
            with self._hub.removal(name, plugging.NETWORK_ALIAS) as removed:
                await self._connection.call(
                    f"libvirt cannot unplug the network from machine {name}",
                    lambda opened: plugging.ask_for_network(opened, name),
                )
                try:
                    async with asyncio.timeout(DETACH_DEADLINE):
                        await removed
                except TimeoutError:
                    raise DeadlineExceeded(f"the guest of {name} has not released its network card") from None

    @override
    async def state_key(self, spec: MachineSpec) -> str:
        capabilities = await self._libvirt()
        machine = domain_xml(neutral(spec), capabilities, await self._emulator(spec))
        files = (Path(capabilities.qemu), *spec.image.files)
        return await asyncio.to_thread(key_of, machine, await self.version(), files)

    @override
    async def destroy(self, name: str) -> None:
        await self._connection.call(f"libvirt cannot end machine {name}", lambda opened: domains.destroy(opened, name))
        await self._hub.destroyed(name, DYING)
        self._plugging.pop(name, None)
        self._resizing.pop(name, None)

    @override
    async def state(self, name: str) -> MachineState:
        return await self._connection.call(
            f"libvirt cannot report the state of machine {name}", lambda opened: domains.state(opened, name)
        )

    @override
    async def usage(self, name: str) -> MachineUsage:
        return await asyncio.to_thread(self._processes.usage, name)

    @override
    async def process(self, name: str) -> int:
        return await asyncio.to_thread(self._processes.pid, name)

    @override
    async def memory(self, name: str) -> int:
        return await Resizing(self._connection, name).memory()

    @override
    async def resize(self, name: str, memory: int) -> int:
        async with self._resizing[name]:
            return await Resizing(self._connection, name).resize(memory)

    @override
    async def list_names(self) -> tuple[str, ...]:
        return await self._connection.call("libvirt cannot list machines", domains.names)

    @override
    async def attach_disk(self, name: str, disk: Disk) -> None:
        async with self._plugging[name]:
            await MachineDisks(self._connection, self._hub, name).attach(disk)

    @override
    async def detach_disk(self, name: str, serial: str) -> None:
        async with self._plugging[name]:
            await MachineDisks(self._connection, self._hub, name).detach(serial)

    @override
    async def resize_disk(self, name: str, serial: str, size: int) -> None:
        async with self._plugging[name]:
            await MachineDisks(self._connection, self._hub, name).resize(serial, size)

    @override
    async def version(self) -> str:
        return await self._connection.call("libvirt cannot report its version", domains.version)

    @override
    def events(self) -> AsyncIterator[MachineEvent]:
        return self._hub.listen()

    @override
    def resumed(self) -> AsyncIterator[str]:
        return self._hub.resumed()

    async def _emulator(self, spec: MachineSpec) -> Path | None:
        """The program that runs a machine, which is not QEMU itself where its vCPUs would race; None: QEMU."""
        libvirt = await self._libvirt()
        if (
            spec.most.vcpus == 1
            or self._programs is None
            or not one_thread.races(spec.accelerator, libvirt.qemu_version)
        ):
            return None
        return await asyncio.to_thread(one_thread.launcher, libvirt.qemu, self._programs)

    async def _libvirt(self) -> Capabilities:
        """Return what it has. QEMU tells it in seconds, so it is asked again only where QEMU is another."""
        async with self._asking:
            self._capabilities = await self._connection.call(
                "libvirt cannot report its capabilities",
                lambda client: domains.capabilities(client, self._capabilities),
            )
            return self._capabilities

    async def _start(self, spec: MachineSpec, before: Before | None, saved: Path | None = None) -> None:
        xml = domain_xml(spec, await self._libvirt(), await self._emulator(spec), restored=saved is not None)
        paused = before is not None or saved is not None
        self._hub.expect(spec.name)
        try:
            await self._connection.call(
                f"libvirt cannot start machine {spec.name}",
                lambda opened: self._namespaces.where_started(
                    lambda: domains.create(opened, spec.name, xml, paused=paused), spec
                ),
                repeatable=False,
            )
            if before is not None:
                await before()
            if saved is not None:
                await Saving(self._connection, self._processes, spec.name).load(saved)
            if paused:
                await self._connection.call(
                    f"libvirt cannot let machine {spec.name} run", lambda opened: domains.resume(opened, spec.name)
                )
        except AlreadyExists:
            self._hub.forget(spec.name)
            raise
        except BaseException:
            await aio.to_its_end(self._undo(spec))
            raise
        self._hub.started(spec.name)

    async def _undo(self, spec: MachineSpec) -> None:
        """End what a failed or cancelled `create` may have left; a machine of others would have another UUID."""
        with contextlib.suppress(VmsandboxError):
            await self._connection.call(
                f"libvirt cannot end machine {spec.name}",
                lambda opened: domains.destroy(opened, spec.name, spec.uuid),
            )
        self._hub.forget(spec.name)
