"""All containers of one sandbox, and what befalls them together."""

import asyncio
from collections.abc import Awaitable, Iterable

from tenacity import retry, retry_if_exception_type, wait_fixed

from vmsandbox import log
from vmsandbox.errors import ResourceExhausted, VmsandboxError
from vmsandbox.images import ImageStore
from vmsandbox.model import ContainerConfig, ContainerState, ContainerUsage
from vmsandbox.protocol.messages import Exit
from vmsandbox.sandbox.containers.container import Container
from vmsandbox.sandbox.containers.container_factory import new_record
from vmsandbox.sandbox.containers.context import ContainerContext
from vmsandbox.sandbox.containers.figures import GuestFigures
from vmsandbox.state import SandboxRecord

_log = log.get(__name__)

_DISK_PAUSE = 1.0
"""Seconds until recording an end is tried again."""


class SandboxContainers(dict[str, Container]):
    """The containers by their ids, also those that are being made; each has a lock of its own."""

    def __init__(self, context: ContainerContext, images: ImageStore) -> None:
        """None yet."""
        super().__init__()
        self._context = context
        self._images = images
        self._figures = GuestFigures(context.sandbox_id)

    async def create(self, config: ContainerConfig, sandbox: SandboxRecord) -> str:
        """Make a container, and return its id; its name is taken from now on. On failure nothing of it is left.

        Raises:
            VmsandboxError: as `new_record` and `Container.create`.
        """
        record = new_record(config, sandbox, [container.record for container in self.values()], self._images)
        container = self[record.id] = Container(self._context, record)
        try:
            await container.create()
        except BaseException as error:
            self.pop(record.id, None)
            if isinstance(error, VmsandboxError):
                error.at(f"container {config.metadata.name}")
            raise
        return record.id

    async def remove(self, container_id: str) -> None:
        """End and remove a container. Succeeds for one that is removed already."""
        if container := self.get(container_id):
            await container.remove()
            self.pop(container_id, None)

    async def exited(self, event: Exit) -> None:
        """The agent says that one has ended. Returns when that is on disk: a full disk has room again some time."""
        if container := self.get(event.container_id):
            await _recorded(container, event)

    async def measure(self) -> dict[str, ContainerUsage]:
        """Return the usage of running containers by id.

        Raises:
            VmsandboxError: the guest does not answer, and has not of late.
        """
        if (machine := self._context.usable) is None:
            return {}
        usage = await self._figures.latest(machine.client, self._running())
        return {container_id: usage[container_id] for container_id in self._running() & usage.keys()}

    def _running(self) -> set[str]:
        return {each.record.id for each in self.values() if each.record.state is ContainerState.RUNNING}

    async def ask_to_end(self, timeout: float) -> None:
        """Ask all that live to end, at the same time; return when they have, or after `timeout` seconds."""
        await self._together(container.ask_to_end(timeout) for container in self.values())

    async def kill(self) -> None:
        """Kill all that live, at the same time."""
        await self._together(container.stop(0) for container in self.values())

    async def _together(self, ending: Iterable[Awaitable[None]]) -> None:
        for error in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(error, BaseException):
                _log.warning("sandbox %s: %s", self._context.sandbox_id, error)

    def machine_died(self, error: BaseException) -> None:
        """Their machine is gone."""
        for container in self.values():
            container.keeper.machine_died(error)

    async def settled(self) -> None:
        """Return when no call is changing any of them."""
        for container in tuple(self.values()):
            await container.settled()

    async def close(self) -> None:
        """End what this process does for them; they go on in the guest."""
        for container in tuple(self.values()):
            await container.close()


@retry(retry=retry_if_exception_type(ResourceExhausted), wait=wait_fixed(_DISK_PAUSE))
async def _recorded(container: Container, event: Exit) -> None:
    container.keeper.exited(event)
