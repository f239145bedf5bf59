"""The limits that a pod and its containers declare, which the size of the machine follows.

Where a machine grows, it grows before a container is told of its new limits; where it shrinks, it does so afterwards.
Where a step fails, the old size goes on, in the guest as on the host.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from vmsandbox import aio, log
from vmsandbox.errors import InvalidArgument, VmsandboxError
from vmsandbox.model import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    MachineSize,
    PodSandboxConfig,
    Resources,
)
from vmsandbox.sandbox.containers import Container, SandboxContainers
from vmsandbox.sandbox.lifecycle.machine_size import SandboxSize
from vmsandbox.sandbox.lifecycle.sandbox_keeper import SandboxKeeper
from vmsandbox.sandbox.spec import (
    ContainerCall,
    SandboxCall,
    charged,
    check_declaration,
    check_update,
    cpu_time,
    declares_more,
    larger,
    outgrown,
    require_sandbox,
    steps_of,
    updated_declaration,
    updated_resources,
)

_log = log.get(__name__)

_LIVE = (ContainerState.CREATED, ContainerState.RUNNING)


class PodSize:
    """Has the machine of one sandbox follow what is declared. One call at a time changes anything, in order."""

    def __init__(self, machine: SandboxSize, containers: SandboxContainers, keeper: SandboxKeeper) -> None:
        """Change nothing yet. All arguments stay the sandbox's."""
        self._machine = machine
        self._containers = containers
        self._keeper = keeper
        self._lock = asyncio.Lock()
        self._coming: list[Resources] = []
        """The limits of containers that are being made."""
        self._following: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def room_for(self, config: ContainerConfig) -> AsyncIterator[ContainerConfig]:
        """Have the machine grow for a container that is made in the context, where its pod declares no size.

        Yields:
            the configuration, with limits that the machine can have (`_possible`).

        Raises:
            VmsandboxError: as `update_pod`; nothing has changed.
        """
        config = self._possible(config)
        self._coming.append(config.resources)
        try:
            await aio.to_its_end(self._make_room())
            yield config
        finally:
            self._coming.remove(config.resources)
            self.follow()

    async def update_container(self, container: Container, changes: Resources) -> None:
        """Change a container's limits, and the machine with them; goes on to its end when the caller gives up.

        Raises:
            FailedPrecondition: the container has ended; the guest uses memory that is to be taken from it; an earlier
                version has made the machine, which cannot grow.
            InvalidArgument: limits that are not possible, or beyond what the machine may have.
            ResourceExhausted: all machines together have no room for it.
            VmsandboxError: the guest or the hypervisor fails. The old limits go on in all cases.
        """
        await aio.to_its_end(self._update_container(container, changes))

    async def update_pod(self, resources: Resources, overhead: Resources) -> None:
        """Change what the pod declares, and the machine with it (CRI UpdatePodSandboxResources).

        Raises:
            VmsandboxError: as `update_container`; also FailedPrecondition: the sandbox is not READY.
        """
        await aio.to_its_end(self._update_pod(resources, overhead))

    async def take_back(self) -> None:
        """Learn the machine's size after a restart of the daemon, and have it follow. Raises VmsandboxError."""
        async with self._lock:
            await self._machine.take_back()
        self.follow()

    def follow(self) -> None:
        """Have the machine fit its containers soon: one has ended, or was not made."""
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow(), name=f"size of {self._keeper.record.id}")
            self._following.add_done_callback(aio.report)

    async def close(self) -> None:
        """End what this process does for it; the machine keeps its size."""
        if self._following is not None:
            await aio.cancel(self._following)

    def _declared(self) -> list[Resources]:
        """Return the limits of containers that live, or are being made."""
        live = (each.record for each in self._containers.values() if each.record.state in _LIVE)
        return [*(record.config.resources for record in live), *self._coming]

    def _possible(self, config: ContainerConfig) -> ContainerConfig:
        """Return a container with the limits of the attempt before, where the machine can never have those it asks for.

        A kubelet that resizes by restarting a container (`resizePolicy`) makes it with its new limits, also where the
        pod's new size was refused.

        Raises:
            InvalidArgument: there was no attempt before.
        """
        try:
            self._machine.needed(Resources(), [config.resources])
        except InvalidArgument as error:
            before = self._attempt_before(config.metadata)
            if before is None:
                raise
            _log.warning("container %s keeps the limits of its last attempt: %s", config.metadata.name, error)
            return replace(config, resources=before)
        return config

    def _attempt_before(self, metadata: ContainerMetadata) -> Resources | None:
        records = (each.record for each in self._containers.values())
        same = [each.config for each in records if each.config.metadata.name == metadata.name]
        last = max(same, key=lambda config: config.metadata.attempt, default=None)
        return last.resources if last is not None and last.metadata.attempt < metadata.attempt else None

    async def _make_room(self) -> None:
        async with self._lock:
            declared, containers = self._keeper.record.config.resources, self._declared()
            needed = self._machine.needed(declared, containers)
            await self._machine.become(larger(self._machine.now, needed), charged(declared, containers))

    async def _follow(self) -> None:
        async with self._lock:
            if not self._keeper.is_ready:
                return
            declared, containers = self._keeper.record.config.resources, self._declared()
            try:
                needed = self._machine.needed(declared, containers)
                await self._machine.become(needed, charged(declared, containers))
                await self._machine.rank(containers)
            except VmsandboxError as error:
                _log.warning("the machine of sandbox %s keeps its size: %s", self._keeper.record.id, error)

    async def _update_container(self, container: Container, changes: Resources) -> None:
        async with self._lock:
            container.require(ContainerCall.UPDATE)
            config = container.record.config
            wanted = updated_resources(config.resources, changes)
            check_update(config, wanted)
            before = self._declared()
            after = [*before, wanted]
            after.remove(config.resources)
            pod = self._keeper.record.config
            declared = outgrown(pod.resources, before, after)
            await self._in_steps(
                self._machine.wanted(pod.resources, before),
                self._needed(pod.resources, declared, after),
                (charged(pod.resources, before), charged(declared, after)),
                lambda: container.update(wanted),
                lambda: container.update(config.resources),
            )
            self._declare(replace(pod, resources=declared))
        self.follow()

    async def _update_pod(self, resources: Resources, overhead: Resources) -> None:
        async with self._lock:
            require_sandbox(SandboxCall.UPDATE, self._keeper.record.id, self._keeper.record.state)
            pod, containers = self._keeper.record.config, self._declared()
            wanted = replace(
                pod,
                resources=updated_declaration(pod.resources, resources),
                overhead=updated_resources(pod.overhead, overhead),
            )
            check_declaration(wanted)
            await self._in_steps(
                self._machine.wanted(pod.resources, containers),
                self._needed(pod.resources, wanted.resources, containers),
                (charged(pod.resources, containers), charged(wanted.resources, containers)),
                _nothing,
                _nothing,
            )
            self._declare(wanted)

    def _needed(self, before: Resources, declared: Resources, containers: list[Resources]) -> MachineSize:
        if declares_more(before, declared):
            self._machine.require_resizable()
        return self._machine.needed(declared, containers)

    async def _in_steps(
        self,
        was: MachineSize,
        needed: MachineSize,
        cpu: tuple[Resources, Resources],
        tell: Callable[[], Awaitable[None]],
        take_back: Callable[[], Awaitable[None]],
    ) -> None:
        """Change the machine and what is in it, in order; undo all of it where a step fails.

        Args:
            was: needed before the change.
            needed: after it.
            cpu: the CPU time that the machine is charged for before and after it.
            tell: changes the limits in the guest; where that fails, they are as before.
            take_back: gives the old limits back there.
        """
        before = self._machine.now
        first, last = steps_of(before, was, needed)
        await self._machine.become(first, max(cpu, key=cpu_time))
        try:
            await tell()
            try:
                await self._machine.become(last, cpu[1])
            except VmsandboxError:
                await take_back()
                raise
        except BaseException:
            with contextlib.suppress(VmsandboxError):
                await self._machine.become(before, cpu[0])
            raise

    def _declare(self, config: PodSandboxConfig) -> None:
        if config != self._keeper.record.config and self._keeper.is_ready:
            self._keeper.change(config=config)


async def _nothing() -> None:
    """A change of the pod alone is not told to the guest."""
