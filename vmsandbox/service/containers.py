"""The calls on containers, except those that move bytes (`streams`)."""

import contextlib
from collections.abc import Collection

from vmsandbox.errors import NotFound
from vmsandbox.model import ContainerConfig, ContainerState, ContainerStatus, ContainerUsage, Resources
from vmsandbox.protocol.messages import ListedProcess
from vmsandbox.sandbox.spec import signal_number
from vmsandbox.service.base import Service


class ContainerService(Service):
    """CreateContainer and what follows it."""

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        """Make a container, and return its id; see `Sandbox.create_container`. Raises NotFound."""
        return await (await self._sandbox(sandbox_id)).create_container(config)

    async def start_container(self, container_id: str) -> None:
        """Let a container run. Raises NotFound, and as `Container.start`."""
        await (await self._container(container_id)).start()

    async def stop_container(self, container_id: str, timeout: float) -> None:
        """Ask a container to end, and kill it after `timeout` seconds. Succeeds for an unknown or ended one."""
        with contextlib.suppress(NotFound):
            await (await self._container(container_id)).stop(timeout)

    async def signal_container(self, container_id: str, signal: str, *, everyone: bool = False) -> None:
        """Send a signal (see `spec.signal_number`) to a container's first process, or to all of them.

        Raises:
            NotFound: there is no such container.
            InvalidArgument: there is no such signal.
            FailedPrecondition: the container does not run.
        """
        number = signal_number(signal)
        await (await self._container(container_id)).signal(number, everyone=everyone)

    async def freeze_container(self, container_id: str, *, frozen: bool) -> None:
        """Keep all processes of a container from running, or let them go on. Raises NotFound, FailedPrecondition."""
        await (await self._container(container_id)).freeze(frozen=frozen)

    async def remove_container(self, container_id: str) -> None:
        """End a container if it runs, and forget it. Succeeds for an unknown one."""
        if sandbox := self._sandboxes.owner(container_id):
            await self._recovery.wait_for(sandbox.record.id)
            await sandbox.containers.remove(container_id)

    def container_status(self, container_id: str) -> ContainerStatus:
        """Return the status of a container. Raises NotFound."""
        return self._sandboxes.container(container_id).status

    def list_containers(self) -> tuple[ContainerStatus, ...]:
        """All containers of all sandboxes, but those that are still being made."""
        every = (each.status for sandbox in self._sandboxes.values() for each in sandbox.containers.values())
        return tuple(status for status in every if status.state is not ContainerState.UNKNOWN)

    async def list_processes(self, container_id: str) -> tuple[ListedProcess, ...]:
        """Return the processes of a container. Raises as `freeze_container`."""
        return await (await self._container(container_id)).processes()

    async def wait_container(self, container_id: str) -> ContainerStatus:
        """The status of a container, when it has ended and its output is in the log. Raises NotFound."""
        return await self._sandboxes.container(container_id).wait()

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        """Change a container's limits (CRI UpdateContainerResources); one that is not set, 0 or "", stays as it is.

        Raises NotFound, and as `PodSize.update_container`.
        """
        container = await self._container(container_id)
        await self._sandboxes.find(container.record.sandbox_id).size.update_container(container, resources)

    async def reopen_container_log(self, container_id: str) -> None:
        """Go on in a new log file after a rotation. Raises NotFound, and as `Container.reopen_log`."""
        await self._sandboxes.container(container_id).reopen_log()

    async def measure_containers(self, sandbox_ids: Collection[str]) -> dict[str, ContainerUsage]:
        """Return the usage of the running containers of these sandboxes, by id, without guests that do not answer."""
        return await self._sandboxes.measure(sandbox_ids)
