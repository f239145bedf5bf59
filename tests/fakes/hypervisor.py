"""Machines without libvirt, held to the same suite as the real ones (`tests.fakes.hypervisor_contract`)."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from vmsandbox.config import MOST_VCPUS
from vmsandbox.errors import AlreadyExists, FailedPrecondition, NotFound, VmsandboxError
from vmsandbox.hypervisor.base import Accelerator, Disk, Hypervisor, MachineEvent, MachineSpec, MachineState
from vmsandbox.model import MachineUsage

T = TypeVar("T")


class FakeHypervisor(Hypervisor):
    """Remembers the machines that run. A test makes them die, panic, or fail to start."""

    def __init__(self) -> None:
        self.uri = "fake:///"
        self.machines: dict[str, MachineSpec] = {}
        self.most = dict.fromkeys(Accelerator, MOST_VCPUS)
        """The vCPUs that a machine may have."""
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
        self.unseen: set[str] = set()
        """The machines whose QEMU cannot be seen, and so not measured."""
        self._cpu = itertools.count(10_000_000, 10_000_000)
        self._listeners: set[asyncio.Queue[MachineEvent]] = set()
        self._awaiting: set[asyncio.Queue[str]] = set()

    @override
    async def create(self, spec: MachineSpec) -> None:
        await asyncio.sleep(0)
        if spec.name in self.machines:
            raise AlreadyExists(f"machine {spec.name} exists")
        if self.create_error is not None:
            raise self.create_error
        for path in (spec.image.kernel, spec.image.initramfs, spec.image.root):
            _check_there(path)
        self.machines[spec.name] = spec

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
        memory = self.machines[name].memory
        return MachineUsage(time.time_ns(), next(self._cpu), memory, memory // 2, 20, 1)

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
    async def most_vcpus(self, accelerator: Accelerator) -> int:
        return self.most[accelerator]

    @override
    async def version(self) -> str:
        return "fake 1.0"

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
