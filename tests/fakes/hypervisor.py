"""Machines without libvirt, held to the same suite as the real ones (`tests.fakes.hypervisor_contract`)."""

import asyncio
import hashlib
import itertools
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from vmsandbox.errors import AlreadyExists, FailedPrecondition, NotFound, VmsandboxError
from vmsandbox.hypervisor import (
    Before,
    Disk,
    Hypervisor,
    MachineEvent,
    MachineSpec,
    MachineState,
    RestoreFailed,
)
from vmsandbox.hypervisor.sizes import target_memory
from vmsandbox.model import MachineUsage

T = TypeVar("T")

_SAVED = b"the state of a machine"


class FakeHypervisor(Hypervisor):
    """Remembers the machines that run. A test makes them die, panic, or fail to start."""

    def __init__(self) -> None:
        self.uri = "fake:///"
        self.machines: dict[str, MachineSpec] = {}
        self.disks: defaultdict[str, dict[str, Disk]] = defaultdict(dict)
        """The disks that were plugged in, by machine and serial."""
        self.create_error: VmsandboxError | None = None
        """Raised by `create`, of which nothing is left."""
        self.sizes: dict[str, int] = {}
        """The sizes that the guests were told of, by serial."""
        self.detach_error: VmsandboxError | None = None
        """Raised by `detach_disk`, when the machine has the disk; it keeps it."""
        self.destroy_error: VmsandboxError | None = None
        """Raised by `destroy`, when there is the machine; it runs on."""
        self.used: dict[str, int] = {}
        """The bytes of memory that guests do not give back, by machine."""
        self.resize_error: VmsandboxError | None = None
        """Raised by `resize`, where the size changes; the machine keeps the one that it has."""
        self.plug_error: VmsandboxError | None = None
        """Raised by `plug`."""
        self.unplug_error: VmsandboxError | None = None
        """Raised by `unplug_network`."""
        self.state_key_error: VmsandboxError | None = None
        self.restored: list[str] = []
        """The machines that were made from a saved state."""
        self.host = "one boot of one host"
        """A part of the keys of states."""
        self.memories: dict[str, int] = {}
        """The memory that the guests have now."""
        self.unseen: set[str] = set()
        """The machines whose QEMU cannot be seen, and so not measured."""
        self._cpu = itertools.count(10_000_000, 10_000_000)
        self._listeners: set[asyncio.Queue[MachineEvent]] = set()
        self._awaiting: set[asyncio.Queue[str]] = set()

    @override
    async def create(self, spec: MachineSpec, before: Before | None = None) -> None:
        await asyncio.sleep(0)
        if spec.name in self.machines:
            raise AlreadyExists(f"machine {spec.name} exists")
        if self.create_error is not None:
            raise self.create_error
        for path in (spec.image.kernel, spec.image.initramfs, spec.image.root):
            _check_there(path)
        self.machines[spec.name] = spec
        self.memories[spec.name] = spec.size.memory
        if before is not None:
            try:
                await before()
            except BaseException:
                self.machines.pop(spec.name, None)
                raise

    @override
    async def booted(self, name: str) -> None:
        if name not in self.machines:
            raise NotFound(f"there is no machine {name}")

    @override
    async def save(self, name: str, path: Path) -> None:
        if name not in self.machines:
            raise NotFound(f"there is no machine {name}")
        path.write_bytes(_SAVED)
        self.end(name, MachineState.STOPPED, "destroyed")

    @override
    async def restore(self, spec: MachineSpec, saved: Path, before: Before | None = None) -> None:
        await self.create(spec.unclaimed, before)
        if saved.read_bytes() != _SAVED:
            del self.machines[spec.name]
            raise RestoreFailed(f"QEMU does not take {saved}")
        self.restored.append(spec.name)

    @override
    async def plug(self, spec: MachineSpec) -> None:
        if spec.name not in self.machines:
            raise NotFound(f"there is no machine {spec.name}")
        if self.plug_error is not None:
            raise self.plug_error
        has = self.machines[spec.name]
        self.machines[spec.name] = replace(
            has,
            vsock=spec.vsock or has.vsock,
            scratch=spec.scratch or has.scratch,
            share=spec.share or has.share,
            network=spec.network or has.network,
        )

    @override
    async def unplug_network(self, name: str) -> None:
        if name not in self.machines:
            raise NotFound(f"there is no machine {name}")
        if self.unplug_error is not None:
            raise self.unplug_error
        self.machines[name] = replace(self.machines[name], network=None)

    @override
    async def state_key(self, spec: MachineSpec) -> str:
        if self.state_key_error is not None:
            raise self.state_key_error
        made_of = (self.host, spec.image, spec.size, spec.most, spec.accelerator, spec.kernel_parameters)
        return hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]

    @override
    async def destroy(self, name: str) -> None:
        if name in self.machines and self.destroy_error is not None:
            raise self.destroy_error
        self.end(name, MachineState.STOPPED, "destroyed")

    @override
    async def state(self, name: str) -> MachineState:
        return MachineState.RUNNING if name in self.machines else MachineState.GONE

    @override
    async def usage(self, name: str) -> MachineUsage:
        if name not in self.machines or name in self.unseen:
            raise NotFound(f"there is no QEMU of machine {name}")
        memory = self.memories[name]
        return MachineUsage(time.time_ns(), next(self._cpu), memory, memory // 2, 20, 1)

    @override
    async def process(self, name: str) -> int:
        await self.usage(name)
        return os.getpid()

    @override
    async def memory(self, name: str) -> int:
        if name not in self.machines:
            raise NotFound(f"there is no machine {name}")
        return self.memories[name]

    @override
    async def resize(self, name: str, memory: int) -> int:
        before = await self.memory(name)
        spec = self.machines[name]
        target = target_memory(name, memory, least=spec.size.memory, most=spec.most.memory)
        await asyncio.sleep(0)
        if target != before and self.resize_error is not None:
            raise self.resize_error
        if name not in self.machines:
            raise NotFound(f"there is no machine {name}")
        if target < min(before, self.used.get(name, 0)):
            raise FailedPrecondition(f"the guest of {name} uses {self.used[name] >> 20} MiB of memory")
        self.memories[name] = target
        return target

    @override
    async def list_names(self) -> tuple[str, ...]:
        return tuple(sorted(self.machines))

    @override
    async def attach_disk(self, name: str, disk: Disk) -> None:
        if name not in self.machines:
            raise NotFound(f"there is no machine {name}")
        if disk.serial not in self.disks[name]:
            _check_there(disk.path)
            self.disks[name][disk.serial] = disk

    @override
    async def detach_disk(self, name: str, serial: str) -> None:
        if serial in self.disks[name]:
            if self.detach_error is not None:
                raise self.detach_error
            del self.disks[name][serial]

    @override
    async def resize_disk(self, name: str, serial: str, size: int) -> None:
        if serial not in self.disks[name]:
            raise NotFound(f"there is no disk {serial} in a machine {name}")
        self.sizes[serial] = size

    @override
    async def version(self) -> str:
        return "libvirt 9.0.0, QEMU 7.2.22"  # as the real one says it

    @override
    def events(self) -> AsyncIterator[MachineEvent]:
        queue: asyncio.Queue[MachineEvent] = asyncio.Queue()
        self._listeners.add(queue)
        return self._listen(queue, self._listeners)

    @override
    def resumed(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._awaiting.add(queue)
        return self._listen(queue, self._awaiting)

    async def pause(self, name: str) -> None:
        """The machine stops for a moment and goes on."""
        for queue in self._awaiting:
            queue.put_nowait(name)

    def kill(self, name: str) -> None:
        """The machine's QEMU dies."""
        self.end(name, MachineState.CRASHED, "failed (QEMU has died)")

    def panic(self, name: str) -> None:
        """The machine's guest panics."""
        self.end(name, MachineState.CRASHED, "crashed (panicked)")

    def end(self, name: str, state: MachineState, reason: str) -> None:
        """The machine ends, if it runs."""
        self.disks.pop(name, None)
        if self.machines.pop(name, None) is not None:
            for queue in self._listeners:
                queue.put_nowait(MachineEvent(name, state, reason))

    @staticmethod
    async def _listen(queue: "asyncio.Queue[T]", among: "set[asyncio.Queue[T]]") -> AsyncIterator[T]:
        try:
            while True:
                yield await queue.get()
        finally:
            among.discard(queue)


def _check_there(path: Path) -> None:
    if not path.exists():
        raise FailedPrecondition(f"{path} does not exist")
