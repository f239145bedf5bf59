"""The requests of the protocol as typed methods."""

import contextlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import Any, cast

from vmsandbox.errors import Unavailable
from vmsandbox.guest.session import Session, has_feature
from vmsandbox.guest.streams import InputStream, OutputStream, PortStream, open_stream
from vmsandbox.guest.transport import GuestConnection
from vmsandbox.protocol.features import CPUSETS, GUEST_COMMANDS, PRESSURE_AVERAGES
from vmsandbox.protocol.messages import (
    AdjustClock,
    AttachImage,
    Clock,
    ConfigureGuest,
    Containers,
    CreateContainer,
    Created,
    DeleteContainer,
    DetachImage,
    EndExecs,
    Exec,
    FitMachine,
    FreezeContainer,
    ListContainers,
    ListedProcess,
    ListedProcesses,
    ListProcesses,
    MakeTmpfs,
    MeasureContainers,
    Measured,
    OciState,
    OpenPort,
    OpenStream,
    Processors,
    ProcessUser,
    ReadClock,
    ReleaseDisk,
    Request,
    Resize,
    Shutdown,
    SignalContainer,
    SignalExec,
    StartContainer,
    Stream,
    UpdateResources,
    UseProcessors,
    WriteVolume,
)

QUICK = 30.0
"""Seconds for a request that starts no program in the guest, with room for a slow, busy one."""

LONG = 120.0
"""Seconds for a request that starts programs or waits for disks."""

START_CPUS = 60.0
"""Seconds for taking CPUs into use: the guest's kernel gives each ten seconds to start."""

WRITE_BACK = 60.0
"""Seconds in which a guest writes back what it holds of a disk; a kubelet gives the whole call two minutes."""


class GuestClient:
    """The requests that the host can send to a guest. It owns nothing: the session belongs to the caller.

    Every method raises what the agent answered (as the class of `errors` with its code), DeadlineExceeded, or
    Unavailable when the connection is lost meanwhile or the session is closed.
    """

    def __init__(self, session: Session) -> None:
        """Ask through `session`."""
        self.session = session

    async def configure(self, request: ConfigureGuest, *, deadline: float = LONG) -> None:
        """Make the booted machine the pod. An agent that is older than commands in the guest is not told of them."""
        await self._ask(replace(request, debug=request.debug and self._has(GUEST_COMMANDS)), deadline)

    async def read_clock(self, *, deadline: float = QUICK) -> int:
        """The guest's time, in nanoseconds since the epoch."""
        return cast(Clock, await self._ask(ReadClock(), deadline)).at

    async def adjust_clock(self, nanoseconds: int, *, step: bool, deadline: float = QUICK) -> None:
        """Add to the guest's time, at once or by and by."""
        await self._ask(AdjustClock(nanoseconds, step), deadline)

    async def use_processors(self, count: int = 0, *, deadline: float = START_CPUS) -> int:
        """Have the guest use that many CPUs of its machine (0: as many as now), and return how many it uses.

        Raises:
            FailedPrecondition: the machine has fewer, or the guest's kernel refuses.
            Unimplemented: the agent is older than this.
        """
        return cast(Processors, await self._ask(UseProcessors(count), deadline)).online

    async def make_tmpfs(self, request: MakeTmpfs, *, deadline: float = QUICK) -> None:
        """Make a memory-backed volume."""
        await self._ask(request, deadline)

    async def write_volume(self, request: WriteVolume, *, deadline: float = QUICK) -> None:
        """Have a volume hold another version."""
        await self._ask(request, deadline)

    async def attach_image(self, serial: str, *, filesystem: str = "squashfs", deadline: float = LONG) -> None:
        """Mount a plugged-in root image; waits in the guest until the disk is there."""
        await self._ask(AttachImage(serial, filesystem), deadline)

    async def detach_image(self, serial: str, *, deadline: float = LONG) -> None:
        """Unmount a root image before it is unplugged."""
        await self._ask(DetachImage(serial), deadline)

    async def release_disk(self, serial: str, *, deadline: float = WRITE_BACK) -> None:
        """Have the guest write a disk back and let it go, before it is unplugged."""
        await self._ask(ReleaseDisk(serial), deadline)

    async def create_container(self, request: CreateContainer, *, deadline: float = LONG) -> ProcessUser:
        """Make a container whose process waits for `start_container`; tells who that runs as.

        In a machine whose agent is older than cpusets, it may use all CPUs.
        """
        request = replace(request, cpus=self._cpus(request.cpus))
        return cast(Created, await self._ask(request, deadline)).user

    async def start_container(self, container_id: str, *, deadline: float = LONG) -> None:
        """Let the container's process run."""
        await self._ask(StartContainer(container_id), deadline)

    async def signal_container(
        self, container_id: str, signal: int, *, everyone: bool = False, deadline: float = QUICK
    ) -> None:
        """Send a signal to the first process of a container, or to all."""
        await self._ask(SignalContainer(container_id, signal, everyone), deadline)

    async def delete_container(self, container_id: str, *, deadline: float = LONG) -> None:
        """Kill and remove a container."""
        await self._ask(DeleteContainer(container_id), deadline)

    async def update_resources(
        self, container_id: str, resources: dict[str, object], *, cpus: str = "", deadline: float = LONG
    ) -> None:
        """Change a container's limits; `resources` as in the runtime-spec, `cpus` as of `create_container`."""
        await self._ask(UpdateResources(container_id, resources, self._cpus(cpus)), deadline)

    async def freeze_container(self, container_id: str, *, frozen: bool, deadline: float = LONG) -> None:
        """Keep all processes of a container from running, or let them go on. Raises Unimplemented: an older agent."""
        await self._ask(FreezeContainer(container_id, frozen), deadline)

    async def list_processes(self, container_id: str, *, deadline: float = QUICK) -> tuple[ListedProcess, ...]:
        """Return the processes of a container. Raises Unimplemented: the agent is older than this."""
        return cast(ListedProcesses, await self._ask(ListProcesses(container_id), deadline)).processes

    async def exec(self, request: Exec, *, deadline: float = LONG) -> None:
        """Start a process in a container; its end comes as an `Exit` event."""
        await self._ask(request, deadline)

    async def signal_exec(self, container_id: str, exec_id: str, signal: int, *, deadline: float = QUICK) -> None:
        """Send a signal to the process of an exec."""
        await self._ask(SignalExec(container_id, exec_id, signal), deadline)

    async def end_execs(self, *, deadline: float = QUICK) -> None:
        """Kill and forget every exec; their `Exit` events still come."""
        await self._ask(EndExecs(), deadline)

    async def resize(
        self, container_id: str, columns: int, rows: int, *, exec_id: str = "", deadline: float = QUICK
    ) -> None:
        """Set the size of a terminal."""
        await self._ask(Resize(container_id, columns, rows, exec_id), deadline)

    async def list_containers(self, *, deadline: float = QUICK) -> tuple[OciState, ...]:
        """The containers that the agent has."""
        return cast(Containers, await self._ask(ListContainers(), deadline)).containers

    async def measure_containers(self, *, deadline: float = QUICK) -> Measured:
        """Return the usage of the containers, with averages of pressure if the agent tells them."""
        averages = self._has(PRESSURE_AVERAGES)
        return cast(Measured, await self._ask(MeasureContainers(averages), deadline))

    async def fit_machine(self, leaving: int = 0, *, deadline: float = QUICK) -> None:
        """Have containers fit the machine's memory, without `leaving` bytes that are about to be taken.

        An agent without this method does so when the next container comes or changes.

        Raises:
            FailedPrecondition: containers use more than would be left for them.
        """
        if self._has(FitMachine.METHOD):
            await self._ask(FitMachine(leaving), deadline)

    async def shutdown(self, *, deadline: float = LONG) -> None:
        """Kill all containers and power off; returns when the connection ends, just before the machine does."""
        self.session.expect_end()
        with contextlib.suppress(Unavailable):
            await self._ask(Shutdown(), deadline)

    def output(self, container_id: str, stream: Stream, *, exec_id: str = "", offset: int = 0) -> OutputStream:
        """The output of a process from `offset` on, as a context and an iterator that outlives connections."""

        def open_at(position: int) -> Awaitable[GuestConnection]:
            return open_stream(self.session, OpenStream(container_id, stream, exec_id, position))

        return OutputStream(f"{stream.value} of {exec_id or container_id}", self.session, open_at, offset)

    def input(self, container_id: str, *, exec_id: str = "") -> InputStream:
        """The standard input of a process, as a context that outlives connections."""

        def open_once() -> Awaitable[GuestConnection]:
            return open_stream(self.session, OpenStream(container_id, Stream.STDIN, exec_id))

        return InputStream(f"stdin of {exec_id or container_id}", self.session, open_once)

    @contextlib.asynccontextmanager
    async def port(self, port: int) -> AsyncIterator[PortStream]:
        """A connection to a TCP port on the pod's localhost. Raises Unavailable when nobody listens there."""
        connection = await open_stream(self.session, OpenPort(port))
        try:
            yield PortStream(f"port {port}", connection)
        finally:
            await connection.aclose()

    def _has(self, feature: str) -> bool:
        peer = self.session.peer
        return peer is not None and has_feature(peer, feature)

    def _cpus(self, cpus: str) -> str:
        return cpus if self._has(CPUSETS) else ""

    async def _ask(self, request: Request, deadline: float) -> Any:
        return await self.session.request(request, deadline)
