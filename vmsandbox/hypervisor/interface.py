"""The interface of a hypervisor: it turns a `MachineSpec` into a running machine, and reports events.

Implementations: `libvirt.LibvirtHypervisor`, and `tests.fakes.hypervisor.FakeHypervisor`, held to one test suite.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.machine_events import MachineEvent, MachineState
from vmsandbox.hypervisor.specification import Disk, MachineSpec
from vmsandbox.model import MachineUsage


class RestoreFailed(FailedPrecondition):
    """A saved state is of no use here: the machine that was to be made from it is gone, and others would be as well."""


Before = Callable[[], Awaitable[None]]
"""Work on the processes of a machine whose guest has not run yet."""


class Hypervisor(Protocol):
    """Runs machines by name. Every call is idempotent where its docstring says so."""

    uri: str
    """Where it is, for people."""

    async def create(self, spec: MachineSpec, before: Before | None = None) -> None:
        """Start a machine; it runs when this returns, its guest still boots. On failure nothing is left.

        Args:
            spec: of the machine.
            before: is awaited when the machine's processes are there and its guest has not run yet; what it raises is
                the failure.

        Raises:
            AlreadyExists: a machine of that name runs.
            ResourceExhausted: no memory for it, or its CID or MAC is taken.
            FailedPrecondition: the host lacks something; the hint says what.
            Unavailable: libvirt cannot be reached.
        """
        ...

    async def booted(self, name: str) -> None:
        """Return when the guest waits for its secret (`MachineSpec.secret`): it has booted, and is unclaimed.

        Raises:
            NotFound: there is no such machine, or it has ended meanwhile.
        """
        ...

    async def save(self, name: str, path: Path) -> None:
        """Stop an unclaimed machine, and write its state to a new file, which only root may read; then end it.

        Beside that file may be others, whose names begin with its name and belong to it.

        Raises:
            NotFound: there is no such machine.
            FailedPrecondition: QEMU cannot save it.
            DeadlineExceeded: it takes too long.
        """
        ...

    async def restore(self, spec: MachineSpec, saved: Path, before: Before | None = None) -> None:
        """Start a machine that goes on where another one was saved. It is unclaimed: `plug` is to be called next.

        Args:
            spec: of the machine, which differs from the one that was saved in its name, UUID, title, account, console
                and secret alone; what a claim brings is not looked at.
            saved: the file that `save` has written; only root may write it.
            before: as for `create`.

        Raises:
            RestoreFailed: the machine does not go on from this file.
            VmsandboxError: as `create`. In either case nothing is left.
        """
        ...

    async def plug(self, spec: MachineSpec) -> None:
        """Plug in the devices of `spec`: of scratch disk, vsock, network and share those it has.

        The machine is unclaimed, or lacks a network alone and has a place for that.

        By several calls the machine gets them one after the other; none has one that an earlier one had.

        It returns when QEMU has them; the guest finds them a moment later. On failure the machine is to be destroyed.

        Raises:
            NotFound: there is no such machine.
            FailedPrecondition: QEMU refuses a device.
        """
        ...

    async def unplug_network(self, name: str) -> None:
        """Unplug the network of a machine that got it by `plug`; it may get another one. On failure it is of no use.

        Raises:
            NotFound: there is no such machine.
            DeadlineExceeded: its guest did not let the card go.
        """
        ...

    async def state_key(self, spec: MachineSpec) -> str:
        """Return 32 hexadecimal digits that stand for all that the saved state of an unclaimed machine depends on.

        That is the hypervisor, this boot of the host, the guest image, and what the machine is made of. Machines that
        `restore` can make from one another's states have the same.

        Raises:
            FailedPrecondition: a file that machines are made of is not there.
            VmsandboxError: the hypervisor does not answer.
        """
        ...

    async def destroy(self, name: str) -> None:
        """End a machine at once, and return when it has ended. Succeeds where there is none."""
        ...

    async def state(self, name: str) -> MachineState:
        """Return the state of the machine."""
        ...

    async def usage(self, name: str) -> MachineUsage:
        """Return the machine's usage of this host. It asks neither guest nor QEMU, so one that hangs is measured too.

        Raises:
            NotFound: there is no such machine, or none whose QEMU this process can see.
        """
        ...

    async def process(self, name: str) -> int:
        """Return the pid of the machine's QEMU. Raises as `usage`, and asks nobody as that."""
        ...

    async def memory(self, name: str) -> int:
        """Return the bytes that the guest has now. Raises NotFound where there is no such machine."""
        ...

    async def resize(self, name: str, memory: int) -> int:
        """Give the guest that many bytes of memory, and return what it then has.

        That is rounded up to what is plugged in one piece (`MEMORY_BLOCK`), and not less than what the machine has
        booted with. A guest that is still booting takes it when its driver is there. When it fails, the machine is
        given what it had again; what it has is what `memory` returns. Calls for one machine wait for each other.

        The caller asks the agent first whether the guest can do without what is to be taken (`FitMachine`): a kernel
        gives away all that is free, and then kills processes, or panics where it may kill none.

        Raises:
            NotFound: there is no such machine, or it ended meanwhile.
            InvalidArgument: it is more than the machine's `most.memory`; nothing has changed.
            FailedPrecondition: the guest uses memory that was to be taken from it, or the host refuses.
            DeadlineExceeded: the guest does not answer, e.g. because it hangs or has no driver.
        """
        ...

    async def list_names(self) -> tuple[str, ...]:
        """The names of all machines of this project on the connection."""
        ...

    async def attach_disk(self, name: str, disk: Disk) -> None:
        """Plug a disk in. Succeeds when one of that serial is plugged in. Raises NotFound without a machine."""
        ...

    async def detach_disk(self, name: str, serial: str) -> None:
        """Unplug a disk and return when the guest has let it go. Succeeds where there is none.

        Raises:
            DeadlineExceeded: the guest does not let it go.
        """
        ...

    async def resize_disk(self, name: str, serial: str, size: int) -> None:
        """Have the guest know that a writable disk has another size, in bytes; that of a block device is so already.

        Raises:
            NotFound: there is no such machine, or it has no such disk.
        """
        ...

    async def version(self) -> str:
        """Return the names and versions of the programs that run machines."""
        ...

    def events(self) -> AsyncIterator[MachineEvent]:
        """The machines that leave the running state after this call, each once, for as long as it is iterated.

        They are those that this hypervisor has created, or found on its connection.
        """
        ...

    def resumed(self) -> AsyncIterator[str]:
        """The names of machines that go on after a pause, from this call on, for as long as it is iterated."""
        ...
