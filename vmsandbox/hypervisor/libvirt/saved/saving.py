"""One machine that is saved or restored: its state by QEMU, its memory without QEMU where the version allows that."""

import asyncio
from pathlib import Path

from vmsandbox import log
from vmsandbox.errors import NotFound, VmsandboxError
from vmsandbox.hypervisor.interface import RestoreFailed
from vmsandbox.hypervisor.libvirt.connection import LibvirtConnection
from vmsandbox.hypervisor.libvirt.qemu_processes import QemuProcesses
from vmsandbox.hypervisor.libvirt.saved import guest_memory
from vmsandbox.hypervisor.libvirt.saved.holes import give_zeros_back
from vmsandbox.hypervisor.libvirt.saved.saved_state import SavedState

_log = log.get(__name__)


class Saving:
    """A machine, and the files in which it is saved."""

    def __init__(self, connection: LibvirtConnection, processes: QemuProcesses, name: str) -> None:
        """Nothing is asked yet; `processes` finds the machine's QEMU."""
        self._processes = processes
        self._name = name
        self._state = SavedState(connection, name)

    async def save(self, path: Path, qemu_version: int) -> None:
        """Stop the machine and write its files. Raises as `Hypervisor.save`."""
        copied = await self._can_copy_memory(qemu_version)
        await self._state.save(path, memory=not copied)
        if copied:
            await asyncio.to_thread(lambda: guest_memory.write(self._pid(), _memory_of(path)))

    async def load(self, saved: Path) -> None:
        """Have a machine that waits for its state read it. Raises RestoreFailed."""
        memory = _memory_of(saved)
        if not memory.exists():
            await self._state.load(saved)
            await self._give_zeros_back()
            return
        try:
            await asyncio.to_thread(lambda: guest_memory.read(memory, self._pid()))
        except (VmsandboxError, OSError, ValueError, KeyError, TypeError) as error:
            raise RestoreFailed(f"machine {self._name} does not take the memory {memory}: {error}") from None
        await self._state.load(saved, memory=False)

    async def _can_copy_memory(self, qemu_version: int) -> bool:
        try:
            return await asyncio.to_thread(lambda: guest_memory.is_possible(self._pid(), qemu_version))
        except (NotFound, OSError):  # its QEMU is in another PID namespace, say
            return False

    async def _give_zeros_back(self) -> None:
        """Have a machine that has just been restored take no memory for zeros; it runs as well with them."""
        try:
            await asyncio.to_thread(lambda: give_zeros_back(self._pid()))
        except (VmsandboxError, OSError) as error:
            _log.info("machine %s keeps its zeros in the host's memory: %s", self._name, error)

    def _pid(self) -> int:
        return self._processes.pid(self._name)


def _memory_of(saved: Path) -> Path:
    """The memory of a machine beside the file of its state, which has it where this one is not there."""
    return saved.with_name(f"{saved.name}.memory")
