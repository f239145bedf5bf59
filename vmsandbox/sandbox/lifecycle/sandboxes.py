"""All sandboxes of a process, and what befalls them together."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection

from vmsandbox import aio, log
from vmsandbox.errors import AlreadyExists, NotFound
from vmsandbox.hypervisor import Hypervisor, MachineEvent
from vmsandbox.model import ContainerEvent, ContainerUsage, PodSandboxMetadata, SandboxState
from vmsandbox.protocol.secret import random_bytes
from vmsandbox.sandbox.containers import Container
from vmsandbox.sandbox.lifecycle.admission import Admission
from vmsandbox.sandbox.lifecycle.clock_jumps import clock_jumps
from vmsandbox.sandbox.lifecycle.pool import Waiting
from vmsandbox.sandbox.lifecycle.sandbox import Sandbox
from vmsandbox.sandbox.lifecycle.usage import measure_each
from vmsandbox.sandbox.machines import Host
from vmsandbox.sandbox.spec import MachinePlan, domain_name
from vmsandbox.state import SandboxRecord

_log = log.get(__name__)

EVENTS_AHEAD = 1024
"""Events that wait for a listener; one who is further behind misses the newest."""


class Broadcast:
    """Events and their listeners; nobody waits for a slow one."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self._listeners: set[asyncio.Queue[ContainerEvent]] = set()

    def publish(self, event: ContainerEvent) -> None:
        """Tell everyone who listens now."""
        for queue in self._listeners:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(event)

    def listen(self) -> AsyncGenerator[ContainerEvent, None]:
        """The events from this call on (not from the first step of the iteration)."""
        queue: asyncio.Queue[ContainerEvent] = asyncio.Queue(EVENTS_AHEAD)
        self._listeners.add(queue)
        return self._drain(queue)

    async def _drain(self, queue: asyncio.Queue[ContainerEvent]) -> AsyncGenerator[ContainerEvent, None]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)


class Sandboxes(dict[str, Sandbox]):
    """The sandboxes by their ids, also those that are STARTING."""

    def __init__(self, host: Host, admission: Admission) -> None:
        """Begin without any; both arguments stay the caller's."""
        super().__init__()
        self.events = Broadcast()
        self._host = host
        self._admission = admission

    def add(self, record: SandboxRecord) -> Sandbox:
        """Make the sandbox of a record known."""
        sandbox = self[record.id] = Sandbox(self._host, self._admission, record, self.events.publish)
        return sandbox

    def begin(self, plan: MachinePlan, waiting: Waiting | None) -> Sandbox:
        """Make the sandbox of a new pod known; it is going to claim a machine that waits, or to get another one."""
        record = SandboxRecord(
            plan.sandbox_id,
            plan.config,
            SandboxState.STARTING,
            time.time_ns(),
            plan.size.memory,
            plan.size.vcpus,
            plan.sizes,
            accelerator=plan.profile.accelerator.value,
            secret=waiting.record.secret if waiting is not None else random_bytes().hex(),
        )
        sandbox = self.add(record)
        if waiting is not None:
            sandbox.take(waiting.machine)
        return sandbox

    def any_starting(self) -> bool:
        """Tell whether one is being made."""
        return any(sandbox.is_starting for sandbox in self.values())

    def find(self, sandbox_id: str) -> Sandbox:
        """The sandbox of an id. Raises NotFound."""
        try:
            return self[sandbox_id]
        except KeyError:
            raise NotFound(f"there is no sandbox {sandbox_id}") from None

    def owner(self, container_id: str) -> Sandbox | None:
        """The sandbox of a container, where there is such a container."""
        return next((sandbox for sandbox in self.values() if container_id in sandbox.containers), None)

    def container(self, container_id: str) -> Container:
        """The container of an id. Raises NotFound."""
        if sandbox := self.owner(container_id):
            return sandbox.containers[container_id]
        raise NotFound(f"there is no container {container_id}")

    def named(self, metadata: PodSandboxMetadata) -> Sandbox | None:
        """The sandbox of this name, namespace, uid and attempt, where there is one."""
        return next((sandbox for sandbox in self.values() if sandbox.record.config.metadata == metadata), None)

    def check_is_new(self, metadata: PodSandboxMetadata) -> None:
        """Raise AlreadyExists where there is a sandbox of this name, namespace, uid and attempt."""
        if sandbox := self.named(metadata):
            raise AlreadyExists(f"pod {metadata.namespace}/{metadata.name} has a sandbox: {sandbox.record.id}")

    async def measure(self, sandbox_ids: Collection[str]) -> dict[str, ContainerUsage]:
        """Return the usage of running containers of some sandboxes, by id, without guests that do not answer."""
        asked = {sandbox_id: self[sandbox_id].containers.measure() for sandbox_id in self.keys() & set(sandbox_ids)}
        found = await measure_each(asked)
        return {container_id: usage for containers in found.values() for container_id, usage in containers.items()}

    @contextlib.asynccontextmanager
    async def watched(self, hypervisor: Hypervisor) -> AsyncIterator[None]:
        """Tell them what befalls their machines while the context lasts; then let go of them. Machines go on."""
        try:
            async with (
                aio.attendant(self._watch(hypervisor.events()), "machine events"),
                aio.attendant(self._watch_pauses(hypervisor.resumed()), "machines that go on"),
                aio.attendant(self._watch_clock(), "the host's clock"),
            ):
                yield
        finally:
            await let_go(tuple(self.values()))

    async def _watch(self, events: AsyncIterator[MachineEvent]) -> None:
        async for event in events:
            for sandbox in tuple(self.values()):
                if domain_name(sandbox.record.id) == event.name:
                    _tell(sandbox, event)

    async def _watch_pauses(self, resumed: AsyncIterator[str]) -> None:
        """The clock of a machine that was paused is behind."""
        async for name in resumed:
            for sandbox in tuple(self.values()):
                if domain_name(sandbox.record.id) == name:
                    sandbox.check_clock()

    async def _watch_clock(self) -> None:
        async for _ in clock_jumps():
            _log.info("this host's clock was set; the clocks of the guests follow")
            for sandbox in tuple(self.values()):
                sandbox.check_clock()


def _tell(sandbox: Sandbox, event: MachineEvent) -> None:
    """Whatever goes wrong with one sandbox, the others are to learn of their machines' ends, too."""
    try:
        sandbox.machine_ended(event)
    except Exception as error:
        sandbox.fail(error)


async def let_go(sandboxes: Collection[Sandbox]) -> None:
    """End what this process holds of each, however often the caller is cancelled meanwhile; their machines go on."""

    async def close_all() -> None:
        for sandbox in sandboxes:
            await sandbox.close()

    await aio.to_its_end(close_all())
