"""The runtime service: every sandbox of a process by its id, as the CRI speaks of them (runtime.v1 RuntimeService).

The CRI server and `vmsandbox run` are its two callers. Each sandbox has its own locks; calls on different sandboxes
never wait on each other.
"""

import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from pathlib import Path

from vmsandbox import log
from vmsandbox.config import LimitsConfig
from vmsandbox.errors import InvalidArgument, NotFound, Unavailable
from vmsandbox.guest import PortStream
from vmsandbox.images import ImageStore
from vmsandbox.model import (
    AttachRequest,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStatus,
    ContainerUsage,
    DebugRequest,
    ExecRequest,
    ExecResult,
    MachineDetails,
    Output,
    PodSandboxConfig,
    PortForwardRequest,
    Resources,
    SandboxState,
    SandboxStatus,
    SandboxUsage,
)
from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import ListedProcess
from vmsandbox.sandbox.containers import Container
from vmsandbox.sandbox.lifecycle import (
    Admission,
    AdmissionFigures,
    PoolFigures,
    Recovery,
    Sandbox,
    Sandboxes,
    TemplateMaker,
    WarmPool,
    machine_details,
    measure_each,
    reclaim,
    sandbox_usage,
    with_id,
)
from vmsandbox.sandbox.machines import Host, facts_of
from vmsandbox.sandbox.spec import ContainerCall, SandboxCall, check_pod, signal_number
from vmsandbox.sandbox.streams import AttachedClient, ExecProcess
from vmsandbox.state import ContainerRecord, SandboxRecord

_log = log.get(__name__)


class RuntimeService:
    """Sandboxes and containers. It owns them; `host` is the caller's, and outlives it."""

    def __init__(self, host: Host) -> None:
        """Know no sandbox; `recover` reads those of the state database, and `running` opens it for work."""
        self._host = host
        self._admission = Admission.within(host.limits)
        self._sandboxes = Sandboxes(host, self._admission)
        self._recovery = Recovery(host, self._admission, self._sandboxes)
        self._templates = TemplateMaker(host, self._admission)
        self._pool = WarmPool(host, self._admission, self._templates, self._sandboxes.any_starting)

    @property
    def images(self) -> ImageStore:
        """The images of this host."""
        return self._host.images

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["RuntimeService"]:
        """Watch over machines, take back those of `recover`, make templates and fill pools, while the context lasts.

        Then let go; machines go on.
        """
        async with (
            self._sandboxes.watched(self._host.hypervisor),
            self._recovery.running(),
            self._templates.running(),
            self._pool.running(),
        ):
            yield self

    def limit(self, limits: LimitsConfig) -> None:
        """Keep to other limits of all machines together from now on."""
        self._admission.limit(limits)

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        """Make a sandbox and boot its machine; return its id when it is READY (CRI RunPodSandbox).

        It waits its turn where the host's memory is committed to others. Its name is taken from now on.

        Raises:
            AlreadyExists: a sandbox of that name, namespace, uid and attempt exists.
            ResourceExhausted: its machine is larger than this host's memory.
            InvalidArgument: the pod asks for what a machine cannot give, or for an unknown runtime handler.
            VmsandboxError: what failed; nothing is left of it then.
        """
        check_pod(config)
        plan = self._host.plan(uuid.uuid4().hex, config, self._admission.bound)
        kind = await self._pool.kind_of(plan)
        same = self._sandboxes.named(config.metadata)
        if same is not None and same.record.state is SandboxState.STARTING:
            await self._recovery.wait_for(same.record.id)  # It is given back, if an earlier process was making it.
        self._sandboxes.check_is_new(config.metadata)
        if (waiting := self._pool.take(kind)) is not None:
            plan = with_id(self._host, plan, waiting.record.id)
        sandbox = self._sandboxes.begin(plan, waiting)
        try:
            await sandbox.start(plan)
        except BaseException:
            if sandbox.is_gone:  # Else something of it is left, for a stop to give back.
                self._sandboxes.pop(sandbox.record.id, None)
            raise
        return sandbox.record.id

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """End the machine and give back network, memory and disks. Succeeds for an unknown or stopped sandbox."""
        await self._recovery.give_up(sandbox_id)
        if sandbox := self._sandboxes.get(sandbox_id):
            await sandbox.stop()

    async def end_pod(self, sandbox_id: str, timeout: float) -> None:
        """Ask all containers of a sandbox to end, at the same time, and stop it; see `Sandbox.end`. Raises NotFound."""
        sandbox = self._sandboxes.find(sandbox_id)
        if sandbox.record.state is SandboxState.READY:
            with contextlib.suppress(Unavailable):  # It is being taken back, or its machine has died: nobody to ask.
                await self._recovery.wait_for(sandbox_id)
                await sandbox.end(timeout)
        await self.stop_pod_sandbox(sandbox_id)

    async def read_console(self, sandbox_id: str, position: int) -> tuple[str, int]:
        """Return what a guest has printed on its console from a position on, and the position of its end.

        Raises NotFound; FailedPrecondition: it has no machine any more.
        """
        return self._sandboxes.find(sandbox_id).console_since(position)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox and forget it and its containers. Succeeds for an unknown one."""
        await self._recovery.give_up(sandbox_id)
        if sandbox := self._sandboxes.get(sandbox_id):
            await sandbox.remove()
            self._sandboxes.pop(sandbox_id, None)

    def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        """Return the status of a sandbox. Raises NotFound."""
        return self._sandboxes.find(sandbox_id).status

    async def machine_details(self, sandbox_id: str) -> MachineDetails:
        """Return what this host has of a sandbox's machine. Neither the guest nor its QEMU is asked. Raises NotFound.

        A machine that has ended has no processes; nor has one of which the host does not tell in time.
        """
        record = self._sandboxes.find(sandbox_id).record
        return await machine_details(self._host, record, self._admission.committed(sandbox_id))

    def list_pod_sandboxes(self) -> tuple[SandboxStatus, ...]:
        """All sandboxes, also those that are STARTING."""
        return tuple(sandbox.status for sandbox in self._sandboxes.values())

    @property
    def machines_running(self) -> int:
        """The number of sandboxes that are READY: their machines run."""
        return sum(sandbox.record.state is SandboxState.READY for sandbox in self._sandboxes.values())

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        """Make a container, and return its id; see `Sandbox.create_container`. Raises NotFound."""
        return await (await self._sandbox(sandbox_id)).create_container(config)

    async def join_network(self, sandbox_id: str, source: Path) -> None:
        """Give a machine the network of a namespace that was filled late. Raises NotFound, and as `Sandbox`'s."""
        await (await self._sandbox(sandbox_id)).join_network(source)

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

    async def list_processes(self, container_id: str) -> tuple[ListedProcess, ...]:
        """Return the processes of a container. Raises as `freeze_container`."""
        return await (await self._container(container_id)).processes()

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

    async def wait_container(self, container_id: str) -> ContainerStatus:
        """The status of a container, when it has ended and its output is in the log. Raises NotFound."""
        return await self._sandboxes.container(container_id).wait()

    def output(self, container_id: str) -> AsyncGenerator[Output, None]:
        """A container's output from now on, to its end. A slow reader holds the container back. Raises NotFound."""
        return self._sandboxes.container(container_id).output()

    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        """Run a command in a container to its end (CRI ExecSync); `timeout` in seconds, 0 for none.

        Raises:
            NotFound: there is no such container.
            FailedPrecondition: it does not run.
            DeadlineExceeded: the command did not end in time, and was killed.
        """
        if not command:
            raise InvalidArgument("no command was given")
        container = await self._container(container_id)
        return await container.exec_sync(command, timeout)

    def check_exec(self, request: ExecRequest) -> None:
        """Raise NotFound or FailedPrecondition where `exec` would at once."""
        self._sandboxes.container(request.container_id).require(ContainerCall.EXEC)

    def check_attach(self, request: AttachRequest) -> None:
        """Raise NotFound or FailedPrecondition where `attach` would at once."""
        self._sandboxes.container(request.container_id).require(ContainerCall.ATTACH)

    def check_debug(self, request: DebugRequest) -> None:
        """Raise as `debug` would at once."""
        self._sandboxes.find(request.sandbox_id).check_debug()

    def check_port_forward(self, request: PortForwardRequest) -> None:
        """Raise NotFound or FailedPrecondition where `port` would at once."""
        self._sandboxes.find(request.sandbox_id).require(SandboxCall.PORT_FORWARD)

    @contextlib.asynccontextmanager
    async def exec(self, request: ExecRequest) -> AsyncIterator[ExecProcess]:
        """Run a command with a client (CRI Exec); leaving the context before its end kills it. See `Execs.open`.

        Raises:
            NotFound: there is no such container.
            FailedPrecondition: it does not run.
            VmsandboxError: the command could not be started.
        """
        container = await self._container(request.container_id)
        async with container.exec(request) as process:
            yield process

    @contextlib.asynccontextmanager
    async def attach(self, request: AttachRequest) -> AsyncIterator[AttachedClient]:
        """Join the streams of a container that runs, or will (CRI Attach). Raises NotFound, FailedPrecondition."""
        container = await self._container(request.container_id)
        async with container.attach(stdin=request.stdin, output=request.stdout or request.stderr) as attachment:
            yield attachment

    @contextlib.asynccontextmanager
    async def debug(self, request: DebugRequest) -> AsyncIterator[ExecProcess]:
        """Run a command in a sandbox's guest itself, with a client; leaving the context before its end kills it.

        Raises:
            NotFound: there is no such sandbox.
            FailedPrecondition: it is not READY, or `machine.debug` is off, or was when it was made.
            Unimplemented: an older version has made the machine.
            VmsandboxError: the command could not be started.
        """
        sandbox = await self._sandbox(request.sandbox_id)
        async with sandbox.debug(request) as process:
            yield process

    @contextlib.asynccontextmanager
    async def port(self, sandbox_id: str, port: int) -> AsyncIterator[PortStream]:
        """Connect to a port on a pod's localhost (CRI PortForward).

        Raises NotFound; FailedPrecondition: it is not READY; Unavailable: nobody listens on that port.
        """
        sandbox = await self._sandbox(sandbox_id)
        async with sandbox.port(port) as stream:
            yield stream

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        """Change a container's limits (CRI UpdateContainerResources); one that is not set, 0 or "", stays as it is.

        Raises NotFound, and as `PodSize.update_container`.
        """
        container = await self._container(container_id)
        await self._sandboxes.find(container.record.sandbox_id).size.update_container(container, resources)

    async def update_pod_sandbox_resources(self, sandbox_id: str, resources: Resources, overhead: Resources) -> None:
        """Change what a pod declares (CRI UpdatePodSandboxResources); a limit that is not set stays as it is.

        Raises NotFound, and as `PodSize.update_pod`.
        """
        await (await self._sandbox(sandbox_id)).size.update_pod(resources, overhead)

    async def measure_pod_sandbox(self, sandbox_id: str) -> SandboxUsage:
        """Return the usage of a sandbox (CRI PodSandboxStats). Raises NotFound, and like `sandbox_usage`.

        The guest is not asked: it cannot lie, nor hold the call up.
        """
        return await sandbox_usage(self._host, self._sandboxes.find(sandbox_id).record)

    async def measure_pod_sandboxes(self, sandbox_ids: Collection[str]) -> dict[str, SandboxUsage]:
        """Return the usage of sandboxes by id, without those that are not READY or cannot be measured."""
        ready = (each.record for each in self._sandboxes.values() if each.record.state is SandboxState.READY)
        return await measure_each(
            {each.id: sandbox_usage(self._host, each) for each in ready if each.id in sandbox_ids}
        )

    async def measure_containers(self, sandbox_ids: Collection[str]) -> dict[str, ContainerUsage]:
        """Return the usage of the running containers of these sandboxes, by id, without guests that do not answer."""
        return await self._sandboxes.measure(sandbox_ids)

    def admission_figures(self) -> AdmissionFigures:
        """Return what is committed to machines, and who waits."""
        return self._admission.figures

    def pool_figures(self) -> tuple[PoolFigures, ...]:
        """Return how many machines wait in each pool, and how many pods have found one."""
        return self._pool.figures

    async def facts(self) -> dict[str, JSON]:
        """Describe what machines are made with, for people: versions, accelerators, guest image, pools."""
        return {**await facts_of(self._host), "pools": [pool.facts for pool in self._pool.figures]}

    async def reopen_container_log(self, container_id: str) -> None:
        """Go on in a new log file after a rotation. Raises NotFound, and as `Container.reopen_log`."""
        await self._sandboxes.container(container_id).reopen_log()

    def events(self) -> AsyncGenerator[ContainerEvent, None]:
        """Yield events of sandboxes and containers from now on (CRI GetContainerEvents)."""
        return self._sandboxes.events.listen()

    def recover(self) -> None:
        """Know the sandboxes of a process that ended or crashed, as they were; `running` takes them back.

        A call that needs the guest of one waits for it, a moment; a stop ends one that is not taken back yet.

        Raises:
            FailedPrecondition: the state database cannot be read.
        """
        self._recovery.load()
        self._pool.load()

    async def recovered(self) -> None:
        """Return when every sandbox is taken back, or NOTREADY, or was given back."""
        await self._recovery.settled()

    async def reclaim(self) -> None:
        """Give back all that a process that crashed has left behind in the state database, as far as that can be done.

        What cannot be given back stays recorded, for the next process that takes this database.
        """
        state = self._host.state
        containers = [record.id for record in state.all(ContainerRecord)]
        for container_id in (*containers, *state.damaged(ContainerRecord)):
            state.discard(ContainerRecord, container_id)
        sandboxes = [record.id for record in state.all(SandboxRecord)]
        for sandbox_id in (*sandboxes, *state.damaged(SandboxRecord)):
            _log.warning("giving back the resources of sandbox %s, which a crashed process left", sandbox_id)
            await reclaim(self._host, sandbox_id)

    async def _sandbox(self, sandbox_id: str) -> Sandbox:
        """A sandbox whose guest is needed. Raises NotFound, and as `Recovery.wait_for`."""
        self._sandboxes.find(sandbox_id)
        await self._recovery.wait_for(sandbox_id)
        return self._sandboxes.find(sandbox_id)

    async def _container(self, container_id: str) -> Container:
        """A container whose guest is needed. Raises NotFound, and as `Recovery.wait_for`."""
        await self._recovery.wait_for(self._sandboxes.container(container_id).record.sandbox_id)
        return self._sandboxes.container(container_id)
