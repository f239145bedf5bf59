"""The size that the guest of one machine has: its memory by the hypervisor, its CPUs by its agent.

The guest's kernel sees all CPUs that its machine may ever have, and uses as many as the agent is told. Those that it
does not use cost nothing. This works under every accelerator and, unlike plugging vCPUs out, where one thread of QEMU
emulates all of them. A guest that uses more by itself gains nothing: its machine's cgroup has the CPU time of its size.
"""

import contextlib

from vmsandbox import aio
from vmsandbox.errors import Unimplemented, VmsandboxError
from vmsandbox.guest import GuestClient
from vmsandbox.hypervisor import Hypervisor
from vmsandbox.model import MachineSize

_UNDONE = 10.0
"""Seconds that an agent has to use the CPUs again that it did before a change that has failed."""


class GuestSize:
    """One guest that runs. Its calls must not overlap."""

    def __init__(self, hypervisor: Hypervisor, name: str, client: GuestClient, vcpus: int) -> None:
        """Ask nothing yet.

        Args:
            hypervisor: of the machine.
            name: of the machine.
            client: of its agent.
            vcpus: what it has as far as is known. It keeps them if its agent is too old to use others.
        """
        self._hypervisor = hypervisor
        self._name = name
        self._client = client
        self._vcpus = vcpus

    async def now(self) -> MachineSize:
        """Return what the guest has. Raises as the hypervisor and the agent do."""
        return MachineSize(await self._use(0), await self._hypervisor.memory(self._name))

    async def become(self, size: MachineSize) -> MachineSize:
        """Give the guest another size, and return what it then has; when that fails, it is given its old one.

        Raises:
            FailedPrecondition: the guest uses memory that is to be taken from it, or its kernel cannot use a CPU.
            VmsandboxError: as `Hypervisor.resize` and `GuestClient.use_processors` say.
        """
        before = await self.now()
        memory = await self._hypervisor.resize(self._name, size.memory)  # first, since a guest may well refuse
        try:
            return MachineSize(await self._use(size.vcpus), memory)
        except BaseException:
            await aio.to_its_end(self._undo(before))
            raise

    async def _use(self, vcpus: int) -> int:
        with contextlib.suppress(Unimplemented):
            self._vcpus = await self._client.use_processors(vcpus)
        return self._vcpus

    async def _undo(self, had: MachineSize) -> None:
        with contextlib.suppress(VmsandboxError):
            await self._hypervisor.resize(self._name, had.memory)
        with contextlib.suppress(VmsandboxError):
            await self._client.use_processors(had.vcpus, deadline=_UNDONE)
