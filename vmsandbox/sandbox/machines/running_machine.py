"""A machine that containers run in, with all that this process holds of it: it is there as a whole, or not at all."""

import asyncio
import contextlib
from collections.abc import Callable

from vmsandbox import aio, log
from vmsandbox.errors import DeadlineExceeded, Unavailable, VmsandboxError
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.guest import GuestClient, has_feature
from vmsandbox.model import PodSandboxConfig
from vmsandbox.protocol.features import SOURCES_BY_DESCRIPTOR
from vmsandbox.sandbox.blocks import BlockDisks
from vmsandbox.sandbox.files import ImageDisks, SharedVolumes, SyncedVolumes, Volumes
from vmsandbox.sandbox.machines.guest_size import GuestSize
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.machine import Machine
from vmsandbox.sandbox.spec import domain_name
from vmsandbox.sandbox.streams import Execs

_log = log.get(__name__)


class RunningMachine:
    """The running machine of a READY sandbox, with its agent, and the disks, volumes and commands of containers."""

    def __init__(
        self,
        host: Host,
        sandbox_id: str,
        config: PodSandboxConfig,
        *,
        machine: Machine,
        client: GuestClient,
        shared: SharedVolumes,
        paths: ForeignPaths,
        vcpus: int,
        on_failure: Callable[[VmsandboxError], None],
    ) -> None:
        """Take over a machine that was booted or found again, and watch it.

        Args:
            host: what it was made with; stays the caller's.
            sandbox_id: of its sandbox.
            config: of its pod.
            machine: is closed with this.
            client: of its agent.
            shared: the sandbox's volumes of the host; stay the caller's.
            paths: the calls on paths that are not ours; stay the caller's.
            vcpus: that its guest uses, as its record says.
            on_failure: is called with the reason when the machine is of no use any more, until `unwatch`.
        """
        name, hypervisor = domain_name(sandbox_id), host.hypervisor
        self.machine = machine
        self.client = client
        self.size = GuestSize(hypervisor, name, client, vcpus)
        self.execs = Execs(client)
        self.disks = ImageDisks(host.images, hypervisor, name, client)
        self.synced = SyncedVolumes(sandbox_id, client, paths, host.watcher)
        deep = has_feature(machine.peer, SOURCES_BY_DESCRIPTOR)
        self.volumes = Volumes(shared, paths, client, self.disks, self.synced, deep=deep)
        self.blocks = BlockDisks(host.block_nodes(sandbox_id, config), paths, hypervisor, name, client)
        self._watch = asyncio.create_task(self._report(on_failure), name=f"machine of {sandbox_id}")
        self._watch.add_done_callback(aio.report)

    @property
    def kernel(self) -> str:
        """Return the release of its kernel."""
        return self.machine.peer.kernel

    @property
    def has_failed(self) -> bool:
        """Tell whether its end, or that of the session with its agent, is known."""
        return self.machine.failure.done()

    async def answers(self, patience: float) -> bool:
        """Tell whether the guest answers within `patience` seconds. A guest that hangs is logged."""
        try:
            await aio.unless(self.client.list_containers(deadline=patience), self.machine.failure)
        except (DeadlineExceeded, Unavailable) as error:
            _log.warning("the machine is ended without its guest: %s", error)
            return False
        except VmsandboxError:
            pass  # An error is an answer.
        return True

    async def shut_down(self) -> None:
        """Have the guest write its disks back and end by itself, while it answers. What goes wrong is logged."""
        with contextlib.suppress(VmsandboxError):  # It has failed meanwhile.
            await aio.unless(self.blocks.write_back(), self.machine.failure)
        await self.machine.shut_down(self.client)

    async def unwatch(self) -> None:
        """Report its failure no more. Can be repeated."""
        await aio.cancel(self._watch)

    async def close(self) -> None:
        """Let go of what this process holds of it; the machine goes on. Can be repeated."""
        await self.unwatch()
        await self.execs.close()
        await self.synced.close()
        await self.machine.close()
        await self.disks.close()
        await self.blocks.close()

    async def _report(self, on_failure: Callable[[VmsandboxError], None]) -> None:
        on_failure(await asyncio.shield(self.machine.failure))
