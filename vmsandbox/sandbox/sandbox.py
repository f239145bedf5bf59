"""The life of one PodSandbox: its machine, its containers, and what is left to give back."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmsandbox import aio, log
from vmsandbox.errors import AlreadyExists, NotFound, Unavailable, VmsandboxError
from vmsandbox.guest.client import GuestClient
from vmsandbox.hypervisor.base import MachineEvent
from vmsandbox.model import (
    ContainerConfig,
    ContainerEvent,
    ContainerEventKind,
    ContainerState,
    ContainerUsage,
    ExecResult,
    SandboxState,
    SandboxStatus,
)
from vmsandbox.protocol.messages import Event
from vmsandbox.sandbox.container import Container, Surroundings
from vmsandbox.sandbox.disks import ImageDisks
from vmsandbox.sandbox.execs import Execs
from vmsandbox.sandbox.host import Host
from vmsandbox.sandbox.machine import Machine, domain_name, give_back
from vmsandbox.sandbox.records import ContainerRecord, SandboxRecord
from vmsandbox.sandbox.states import ContainerCall, SandboxCall, require_container, require_sandbox
from vmsandbox.sandbox.usage import usage

_log = log.get(__name__)


class Sandbox:
    """One sandbox. Calls that change it as a whole take its lock; those on one container take that one's."""

    def __init__(self, host: Host, record: SandboxRecord, publish: Callable[[ContainerEvent], None]) -> None:
        """Make it known; `start` makes its machine. `publish` takes the events of it and its containers."""
        self.record = record
        self.containers: dict[str, Container] = {}
        self._host = host
        self._publish = publish
        self._lock = asyncio.Lock()
        self._machine: Machine | None = None
        self._client: GuestClient | None = None
        self._around: Surroundings | None = None
        self._execs: Execs | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def status(self) -> SandboxStatus:
        """What the CRI tells of it."""
        return self.record.status()

    async def start(self) -> None:
        """Boot its machine; on failure nothing of it is left, not even the record."""
        self._change(state=SandboxState.STARTING)
        machine = Machine(self._host, self.record.id, self.record.config, self._on_event)
        try:
            client = await machine.boot()
        except BaseException:
            self._host.state.delete(SandboxRecord, self.record.id)
            raise
        self._adopt(machine, client)
        assert machine.peer is not None
        self._change(
            state=SandboxState.READY, network=machine.network, kernel=machine.peer.kernel, timings=machine.timings
        )
        self._announce(ContainerEventKind.STARTED)

    def machine_ended(self, event: MachineEvent) -> None:
        """The hypervisor says that its machine has ended, by whatever hand."""
        if self._machine is not None:
            self._machine.failed(event)

    async def create_container(self, config: ContainerConfig) -> str:
        """Make a container, and return its id.

        Raises:
            FailedPrecondition: the sandbox is not READY.
            AlreadyExists: a container of that name and attempt exists.
            NotFound: the store does not hold its image.
        """
        require_sandbox(SandboxCall.CREATE_CONTAINER, self.record.id, self.record.state)
        self._check_name_is_free(config)
        image = self._host.images.find(config.image)
        if image is None:
            raise NotFound(f"image {config.image} is not in the store", hint=f"vmsandbox image pull {config.image}")
        record = ContainerRecord(
            id=secrets.token_hex(16),
            sandbox_id=self.record.id,
            config=config,
            image_id=image.id,
            image_ref=next(iter(image.repo_digests), image.id),
            image_config=image.config,
            created_at=time.time_ns(),
            log_path=str(Path(self.record.config.log_directory) / config.log_path) if config.log_path else "",
        )
        assert self._around is not None
        container = self.containers[record.id] = Container(self._around, record)
        try:
            await container.create()
        except BaseException as error:
            del self.containers[record.id]
            if isinstance(error, VmsandboxError):
                error.at(f"container {config.metadata.name}")
            raise
        return record.id

    async def remove_container(self, container_id: str) -> None:
        """End and remove a container of this sandbox."""
        await self.containers[container_id].remove()
        self.containers.pop(container_id, None)

    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        """Run a command in a container to its end; see `Execs.run`."""
        container = self.containers[container_id]
        require_container(ContainerCall.EXEC, container_id, container.record.state)
        assert self._execs is not None
        return await self._execs.run(container.record, self._hostname, command, timeout)

    async def measure(self) -> dict[str, ContainerUsage]:
        """What its running containers use, by id; nothing where it has no machine.

        Raises:
            VmsandboxError: the guest does not answer.
        """
        if self._client is None or self.record.state is not SandboxState.READY:
            return {}
        measured = await self._client.measure_containers()
        return {
            measures.container_id: usage(measures, measured.at)
            for measures in measured.containers
            if (container := self.containers.get(measures.container_id))
            and container.record.state is ContainerState.RUNNING
        }

    async def stop(self) -> None:
        """Kill its containers, end its machine and give everything back but its records. Succeeds when done before."""
        async with self._lock:
            if self._machine is not None:
                await self._stop_machine(self._machine)
            await give_back(self._host, self.record.id)
            if self.record.state is not SandboxState.NOTREADY:
                self._change(state=SandboxState.NOTREADY)
                self._announce(ContainerEventKind.STOPPED)

    async def remove(self) -> None:
        """Stop it, and remove its containers and its record."""
        await self.stop()
        async with self._lock:
            for container_id in tuple(self.containers):
                await self.remove_container(container_id)
            self._host.state.delete(SandboxRecord, self.record.id)
            self._announce(ContainerEventKind.DELETED)

    async def close(self) -> None:
        """Let go of what this process holds of it; the machine goes on."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        for container in self.containers.values():
            await container.close()
        if self._machine is not None:
            await self._machine.close()
        if self._around is not None:
            await self._around.disks.close()

    @property
    def _hostname(self) -> str:
        return self.record.config.hostname or self.record.config.metadata.name

    def _adopt(self, machine: Machine, client: GuestClient) -> None:
        """From now on the machine is ours, and its death our containers'."""
        self._machine, self._client = machine, client
        self._execs = Execs(client)
        self._around = Surroundings(
            client=client,
            disks=ImageDisks(self._host.images, self._host.hypervisor, domain_name(self.record.id), client),
            layout=self._host.layout(self.record.id),
            state=self._host.state,
            hostname=self._hostname,
            publish=self._publish,
        )
        self._watch = asyncio.create_task(self._watch_machine(machine), name=f"machine of {self.record.id}")

    async def _watch_machine(self, machine: Machine) -> None:
        error = await asyncio.shield(machine.failure)
        message = error.report() if isinstance(error, VmsandboxError) else str(error)
        _log.error("sandbox %s: %s", self.record.id, message)
        self._change(state=SandboxState.NOTREADY, message=message)
        self._end_all(error)
        self._announce(ContainerEventKind.STOPPED)

    def _end_all(self, error: BaseException) -> None:
        for container in self.containers.values():
            container.machine_died(error)
        if self._execs is not None:
            self._execs.fail(error)

    async def _stop_machine(self, machine: Machine) -> None:
        """Containers first, so that their ends and their output are known; then the guest itself."""
        if self._watch is not None:
            self._watch.cancel()
        if not machine.failure.done():
            running = (
                container.stop(0)
                for container in self.containers.values()
                if container.record.state is ContainerState.RUNNING
            )
            ended = await asyncio.gather(*running, return_exceptions=True)
            for error in ended:
                if isinstance(error, BaseException):
                    _log.warning("sandbox %s: %s", self.record.id, error)
            assert self._client is not None
            await machine.shut_down(self._client)
        self._end_all(Unavailable("the sandbox was stopped"))
        await aio.to_its_end(self.close())
        self._machine = None

    async def _on_event(self, event: Event) -> None:
        if event.exec_id and self._execs is not None:
            self._execs.exited(event)
        elif container := self.containers.get(event.container_id):
            container.exited(event)

    def _check_name_is_free(self, config: ContainerConfig) -> None:
        for container in self.containers.values():
            if container.record.config.metadata == config.metadata:
                raise AlreadyExists(
                    f"sandbox {self.record.id} has a container {config.metadata.name}, attempt "
                    f"{config.metadata.attempt}: {container.record.id}"
                )

    def _announce(self, kind: ContainerEventKind) -> None:
        self._publish(ContainerEvent(self.record.id, self.record.id, kind, time.time_ns()))

    def _change(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        self._host.state.put(self.record.id, self.record)
