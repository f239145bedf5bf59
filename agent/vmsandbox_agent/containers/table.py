"""All containers of the guest, by their ids."""

import asyncio
import signal
from pathlib import Path

from vmsandbox.protocol.messages import (
    MAX_CONTAINERS,
    POD_NAMESPACE,
    Containers,
    CreateContainer,
    Created,
    Exec,
    Measures,
    UpdateResources,
)
from vmsandbox_agent import console
from vmsandbox_agent.containers.container import CrunContainer
from vmsandbox_agent.containers.context import AgentContext
from vmsandbox_agent.containers.guest_commands import GuestCommands
from vmsandbox_agent.containers.process import Process
from vmsandbox_agent.containers.warming import warm_up
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.measures import PodCgroup
from vmsandbox_agent.settings import MAX_EXECS


class ContainerTable:
    """The containers that exist or are being made; the limits on their number."""

    def __init__(self, context: AgentContext) -> None:
        """Begin without any."""
        self._context = context
        self._containers: dict[str, CrunContainer] = {}
        self._execs_starting: set[tuple[str, str]] = set()
        self._pod = PodCgroup(context.settings.pod_cgroup, context.settings.processors / "online")
        self.guest = GuestCommands(context)

    def get(self, container_id: str) -> CrunContainer:
        """The container of that id. Raises AgentError when there is none."""
        try:
            return self._containers[container_id]
        except KeyError:
            raise AgentError("not_found", f"there is no container {container_id}") from None

    def place(self, container_id: str) -> CrunContainer | GuestCommands:
        """A place for commands: a container, or the guest itself (`GUEST`). Raises AgentError as `get`."""
        return self.guest if container_id == self.guest.id else self.get(container_id)

    def process(self, container_id: str, exec_id: str) -> Process:
        """The container's first process or (with `exec_id`) an exec's. Raises AgentError when there is none."""
        container = self.place(container_id)
        if not exec_id:
            return container.process
        try:
            return container.execs[exec_id]
        except KeyError:
            raise AgentError("not_found", f"container {container_id} has no exec {exec_id}") from None

    def list(self) -> Containers:
        """The state of all that exist."""
        return Containers(tuple(known.state for known in self._containers.values() if known.exists))

    async def measure(self, *, averages: bool) -> tuple[Measures, ...]:
        """Return the usage of each container that exists, perhaps with averages of pressure."""
        self._pod.bound()
        measuring = (known.measure(averages=averages) for known in self._containers.values() if known.exists)
        measured = await asyncio.gather(*measuring)
        return tuple(measures for measures in measured if measures is not None)

    async def fit(self, leaving: int) -> None:
        """Have all containers fit the machine; see `PodCgroup.fit`."""
        await self._pod.fit(leaving)

    def fit_processors(self) -> None:
        """Have containers run on the CPUs that the kernel uses now."""
        self._settle()

    def check_image_unused(self, serial: str) -> None:
        """Raise AgentError when a container has the image mounted: the kernel would not refuse to take it away."""
        _refuse(serial, [known.id for known in self._containers.values() if serial in known.images])

    def check_disk_unused(self, serial: str) -> None:
        """Raise AgentError when a container that has not ended may write to the disk.

        A pod is stopped, and its disks are written back, before its containers are removed.
        """
        _refuse(serial, [known.id for known in self._containers.values() if serial in known.disks and not known.ended])

    async def create(self, request: CreateContainer) -> Created:
        """Make a container; its id is taken from now on, and free again when that fails."""
        self._check_room(request.container_id)
        joined = self._pid_namespace(request.pid_namespace)
        self._pod.bound()
        container = self._containers[request.container_id] = CrunContainer(self._context, request.container_id)
        try:
            async with container.lock:
                created = Created(await container.create(request, joined))
            self._settle()
            return created
        except BaseException:
            del self._containers[request.container_id]
            raise

    async def warm_up(self) -> None:
        """Have the next container be made sooner; see `warming`."""
        await warm_up(self._context)

    async def update(self, request: UpdateResources) -> None:
        """Change the limits of a container."""
        container = self.get(request.container_id)
        self._pod.bound()
        async with container.lock:
            await container.update(request)
        self._settle()

    async def exec(self, request: Exec) -> None:
        """Start a process in a container, or in the guest itself."""
        container = self.place(request.container_id)
        name = (container.id, request.exec_id)
        if request.exec_id in container.execs or name in self._execs_starting:
            raise AgentError("already_exists", f"container {container.id} has an exec {request.exec_id}")
        self._forget_taken_execs()
        self._check_exec_room()
        self._execs_starting.add(name)
        try:
            await container.exec(request)
        finally:
            self._execs_starting.discard(name)

    async def end_execs(self) -> None:
        """Kill and forget every exec of every container, and of the guest itself."""
        for place in self._places():
            for exec_id, process in list(place.execs.items()):
                process.signal_session(signal.SIGKILL)
                await process.abandon()
                place.execs.pop(exec_id, None)

    async def delete(self, container_id: str) -> None:
        """Delete a container, whatever its state; succeeds where there is none."""
        container = self._containers.get(container_id)
        if container is None:
            return
        async with container.lock:
            if self._containers.get(container_id) is container:
                await container.delete()
                del self._containers[container_id]
                self._settle()

    async def kill_all(self) -> None:
        """Kill every container and wait for their ends."""
        existing = [known for known in self._containers.values() if known.exists]
        for container in existing:
            container.signal(signal.SIGKILL, everyone=True)
        await asyncio.gather(*(container.process.abandon() for container in existing))

    def _settle(self) -> None:
        """Have the cgroups of all containers fit each other, after one has come, changed or gone."""
        try:
            self._pod.share_processes()
            self._pod.promise()
            self._pod.spread({known.id: known.cpus for known in self._containers.values() if known.exists})
        except OSError as error:
            console.error(f"the limits of containers do not fit each other: {error}")

    def _pid_namespace(self, of: str) -> Path | None:
        """Return the PID namespace of another container. Raises AgentError if it has none to join."""
        if of in ("", POD_NAMESPACE):
            return None
        process = self.get(of).process
        if not process.running:
            raise AgentError("failed_precondition", f"container {of}, whose processes are to be shared, has ended")
        return Path(f"/proc/{process.pid}/ns/pid")

    def _places(self) -> "tuple[CrunContainer | GuestCommands, ...]":
        return (*self._containers.values(), self.guest)

    def _check_room(self, container_id: str) -> None:
        if container_id in (*self._containers, self.guest.id):
            raise AgentError("already_exists", f"container {container_id} exists")
        if len(self._containers) >= MAX_CONTAINERS:
            raise AgentError("resource_exhausted", f"there are {MAX_CONTAINERS} containers")
        self._context.events.check_room(len(self._containers) + MAX_EXECS)

    def _check_exec_room(self) -> None:
        execs = sum(len(place.execs) for place in self._places())
        if execs + len(self._execs_starting) >= MAX_EXECS:
            raise AgentError("resource_exhausted", f"{MAX_EXECS} execs run, or have output that was not read")
        self._context.events.check_room(len(self._containers) + execs)

    def _forget_taken_execs(self) -> None:
        for place in self._places():
            for exec_id in [name for name, process in place.execs.items() if process.taken]:
                del place.execs[exec_id]


def _refuse(serial: str, users: list[str]) -> None:
    if users:
        raise AgentError("failed_precondition", f"disk {serial} is used by {', '.join(users)}")
