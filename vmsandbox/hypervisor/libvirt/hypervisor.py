"""Machines as libvirt's domains. All of them are transient: a machine that has ended is gone."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from vmsandbox import aio, log
from vmsandbox.errors import AlreadyExists, DeadlineExceeded, FailedPrecondition, NotFound, VmsandboxError
from vmsandbox.hypervisor.interface import Before, Hypervisor, RestoreFailed
from vmsandbox.hypervisor.libvirt import domains, file_server, guest_memory, one_thread, plugging
from vmsandbox.hypervisor.libvirt.connection import LibvirtConnection, Revive
from vmsandbox.hypervisor.libvirt.events import EventHub
from vmsandbox.hypervisor.libvirt.holes import give_zeros_back
from vmsandbox.hypervisor.libvirt.qemu_processes import QemuProcesses
from vmsandbox.hypervisor.libvirt.resizing import Resizing
from vmsandbox.hypervisor.libvirt.resync import DYING, keep_resyncing
from vmsandbox.hypervisor.libvirt.saved_state import SavedState
from vmsandbox.hypervisor.libvirt.state_keys import key_of, neutral
from vmsandbox.hypervisor.machine_events import MachineEvent, MachineState
from vmsandbox.hypervisor.specification import Accelerator, Disk, MachineSpec
from vmsandbox.hypervisor.xml import Capabilities, PluggedDisk, domain_xml
from vmsandbox.model import MachineUsage
from vmsandbox.process import IPC, NETWORK, UTS, enter, unshare

_log = log.get(__name__)

DETACH_DEADLINE = 20.0
"""Seconds in which a guest lets a disk go."""


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
        self.apart = connection.embedded
        """Whether QEMUs are started in namespaces of their own, that of the network given by `NetworkDevice`."""
        self._processes = QemuProcesses()
        self._capabilities: Capabilities | None = None
        self._plugging: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._resizing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

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
        copied = await self._can_copy_memory(name)
        await SavedState(self._connection, name).save(path, memory=not copied)
        if copied:
            await asyncio.to_thread(lambda: guest_memory.write(self._processes.pid(name), _memory_of(path)))
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
                    lambda opened: self._where_tap_is(lambda: plugging.plug(opened, spec, share), spec),
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
    async def version(self) -> str:
        return await self._connection.call("libvirt cannot report its version", domains.version)

    @override
    def events(self) -> AsyncIterator[MachineEvent]:
        return self._hub.listen()

    @override
    def resumed(self) -> AsyncIterator[str]:
        return self._hub.resumed()

    async def _races(self, accelerator: Accelerator) -> bool:
        return one_thread.races(accelerator, await self._qemu_version())

    async def _qemu_version(self) -> int:
        return await self._connection.call("libvirt cannot report QEMU's version", domains.qemu_version)

    async def _emulator(self, spec: MachineSpec) -> Path | None:
        """The program that runs a machine, which is not QEMU itself where its vCPUs would race; None: QEMU."""
        if spec.most.vcpus == 1 or self._programs is None or not await self._races(spec.accelerator):
            return None
        return await asyncio.to_thread(one_thread.launcher, (await self._libvirt()).qemu, self._programs)

    async def _libvirt(self) -> Capabilities:
        """Return what it has: asked for once, since QEMU tells it in seconds."""
        if self._capabilities is None:
            action = "libvirt cannot report its capabilities"
            self._capabilities = await self._connection.call(action, domains.capabilities)
        return self._capabilities

    async def _start(self, spec: MachineSpec, before: Before | None, saved: Path | None = None) -> None:
        xml = domain_xml(spec, await self._libvirt(), await self._emulator(spec), restored=saved is not None)
        paused = before is not None or saved is not None
        network = spec.network.namespace if spec.network is not None else None
        self._hub.expect(spec.name)
        try:
            await self._connection.call(
                f"libvirt cannot start machine {spec.name}",
                lambda opened: self._where_started(
                    lambda: domains.create(opened, spec.name, xml, paused=paused), network
                ),
                repeatable=False,
            )
            if before is not None:
                await before()
            if saved is not None:
                await self._load(spec.name, saved)
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

    async def _can_copy_memory(self, name: str) -> bool:
        version = await self._qemu_version()
        try:
            return await asyncio.to_thread(lambda: guest_memory.is_possible(self._processes.pid(name), version))
        except (NotFound, OSError):  # its QEMU is in another PID namespace, say
            return False

    async def _load(self, name: str, saved: Path) -> None:
        """Have a machine that waits for its state read it. Raises RestoreFailed."""
        state, memory = SavedState(self._connection, name), _memory_of(saved)
        if not memory.exists():
            await state.load(saved)
            await self._give_zeros_back(name)
            return
        try:
            await asyncio.to_thread(lambda: guest_memory.read(memory, self._processes.pid(name)))
        except (VmsandboxError, OSError, ValueError, KeyError, TypeError) as error:
            raise RestoreFailed(f"machine {name} does not take the memory {memory}: {error}") from None
        await state.load(saved, memory=False)

    async def _give_zeros_back(self, name: str) -> None:
        """Have a machine that has just been restored take no memory for zeros; it runs as well with them."""
        try:
            await asyncio.to_thread(lambda: give_zeros_back(self._processes.pid(name)))
        except (VmsandboxError, OSError) as error:
            _log.info("machine %s keeps its zeros in the host's memory: %s", name, error)

    def _where_started(self, work: Callable[[], None], network: Path | None) -> None:
        """Do work by which libvirt starts a QEMU, and opens its tap, where that is to be done."""
        if self.apart:
            apart(work, network)
        else:
            work()

    def _where_tap_is(self, work: Callable[[], None], spec: MachineSpec) -> None:
        """Do work by which libvirt opens the tap of a running machine, where it has one."""
        network = spec.network.namespace if spec.network is not None else None
        if self.apart and network is not None:
            apart(work, network)
        else:
            work()

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


def _memory_of(saved: Path) -> Path:
    """The memory of a machine beside the file of its state, which has it where this one is not there."""
    return saved.with_name(f"{saved.name}.memory")


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
