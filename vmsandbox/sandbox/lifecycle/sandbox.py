"""The life of one PodSandbox: its machine, its containers, and what is left to give back."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from vmsandbox import aio, log
from vmsandbox.errors import Cancelled, FailedPrecondition, Unavailable, explained
from vmsandbox.guest import GuestClient, PortStream
from vmsandbox.hypervisor import MachineEvent
from vmsandbox.model import (
    ContainerConfig,
    ContainerEvent,
    ContainerEventKind,
    DebugRequest,
    SandboxState,
    SandboxStatus,
)
from vmsandbox.protocol.messages import Event
from vmsandbox.sandbox.containers import ContainerContext, SandboxContainers
from vmsandbox.sandbox.lifecycle.admission import Admission
from vmsandbox.sandbox.lifecycle.debugging import debuggable, debugging
from vmsandbox.sandbox.lifecycle.ending import end_all, shut_down
from vmsandbox.sandbox.lifecycle.machine_size import SandboxSize
from vmsandbox.sandbox.lifecycle.pod_size import PodSize
from vmsandbox.sandbox.lifecycle.sandbox_keeper import SandboxKeeper
from vmsandbox.sandbox.lifecycle.start import SandboxStart, start_told
from vmsandbox.sandbox.machines import Host, Machine, RunningMachine, give_back, join_late
from vmsandbox.sandbox.spec import MachinePlan, SandboxCall, require_sandbox
from vmsandbox.sandbox.streams import ExecProcess
from vmsandbox.state import SandboxRecord
from vmsandbox.telemetry import code_of
from vmsandbox.telemetry.declared import SANDBOX_FAILURES

_log = log.get(__name__)
_lives = log.get("vmsandbox.pods")
"""The journal of the lives of pods: a line when one is made, ready, ended and removed."""


class Sandbox:
    """One sandbox. Calls that change it as a whole take its lock; those on one container take that one's."""

    def __init__(
        self, host: Host, admission: Admission, record: SandboxRecord, publish: Callable[[ContainerEvent], None]
    ) -> None:
        """Make it known; `start` makes its machine. `publish` takes the events of it and its containers."""
        self.keeper = SandboxKeeper(record, host.state, publish)
        self._host = host
        self._admission = admission
        self._publish = publish
        self._lock = asyncio.Lock()
        layout = host.layout(record.id)
        self.context = ContainerContext(record.id, record.config, layout, host.state, self._publish_of_container)
        self.containers = SandboxContainers(self.context, host.images)
        machine_size = SandboxSize(host, admission, self.context.running, self.keeper)
        self.size = PodSize(machine_size, self.containers, self.keeper)
        """Has the machine follow the limits of the pod and its containers."""
        self._removed = False
        self._given_back = False
        """Whether this process has given all resources back, which takes looks at every process of the host."""
        self._starting: asyncio.Task[None] | None = None
        self._start = SandboxStart(host, admission, self.keeper, new_machine=self.new_machine, on_event=self._on_event)
        self._machine: Machine | None = None
        """The machine, from its first acquired resource on; `context.machine` is set while it runs."""

    @property
    def record(self) -> SandboxRecord:
        """The record of the sandbox."""
        return self.keeper.record

    @property
    def status(self) -> SandboxStatus:
        """The status for the CRI."""
        return replace(self.record.status(), ending=self.context.ending)

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is left: its boot has failed, or it was removed."""
        return self._removed or (self.record.state is SandboxState.STARTING and self._starting is None)

    @property
    def is_starting(self) -> bool:
        """Whether its machine is being made."""
        return self._starting is not None

    def require(self, call: SandboxCall) -> None:
        """Raise FailedPrecondition unless the call is legal in the sandbox's state."""
        require_sandbox(call, self.record.id, self.record.state)

    def take(self, machine: Machine) -> None:
        """Have a machine of the pool, which `start` claims; its record has the id and the secret of the machine."""
        self._machine = self._start.waiting = machine

    async def start(self, plan: MachinePlan) -> None:
        """Boot its machine, when its turn has come.

        On failure nothing of it is left, and it is STARTING for ever; where something cannot be given back, it is
        NOTREADY instead, so that it can be stopped again.

        Raises:
            Cancelled: it was stopped meanwhile.
        """
        self._starting = asyncio.ensure_future(self._make(plan))
        try:
            await asyncio.shield(self._starting)
        except asyncio.CancelledError:
            stopped = self._starting.cancelled()
            self._starting.cancel()
            await aio.to_its_end(asyncio.wait([self._starting]))
            if stopped:
                raise Cancelled(f"sandbox {self.record.id} was stopped before it was ready") from None
            if self.keeper.is_ready:  # It was quicker.
                self._starting = None
                await self.remove()
            raise
        finally:
            self._starting = None

    def machine_ended(self, event: MachineEvent) -> None:
        """The hypervisor says that its machine has ended, by whatever hand."""
        if self._machine is not None:
            self._machine.failed(event)

    def check_clock(self) -> None:
        """Have the guest's clock checked soon: it is probably wrong."""
        if self._machine is not None:
            self._machine.check_clock()

    async def create_container(self, config: ContainerConfig) -> str:
        """Make a container, and return its id.

        Raises:
            FailedPrecondition: the sandbox is not READY.
            Cancelled: it is being ended.
            VmsandboxError: as `SandboxContainers.create`.
        """
        self.require(SandboxCall.CREATE_CONTAINER)
        self.context.require_lasting()
        async with self.size.room_for(config) as possible:
            return await self.containers.create(possible, self.record)

    async def join_network(self, source: Path) -> None:
        """Give its machine what a network namespace has that was filled after it was made; goes on to its end.

        Does nothing where it has a network, or did not ask for that.

        Raises:
            FailedPrecondition: the sandbox is not READY.
            VmsandboxError: as `join_late`.
        """
        self.require(SandboxCall.CREATE_CONTAINER)
        with log.about(self.context.subject()):
            await aio.to_its_end(self._join_network(source))

    def check_debug(self) -> None:
        """Raise FailedPrecondition unless it is READY, and as `debuggable`."""
        self.require(SandboxCall.DEBUG)
        debuggable(self._host, self.context)

    def debug(self, request: DebugRequest) -> AbstractAsyncContextManager[ExecProcess]:
        """Run a command in the guest itself; see `debugging`. Raises FailedPrecondition."""
        self.require(SandboxCall.DEBUG)
        return debugging(self._host, self.context, request)

    def port(self, port: int) -> AbstractAsyncContextManager[PortStream]:
        """Connect to a port on the pod's localhost; see `GuestClient.port`. Raises FailedPrecondition, Unavailable."""
        self.require(SandboxCall.PORT_FORWARD)
        return self.context.running().client.port(port)

    async def stop(self) -> None:
        """Kill its containers, end its machine and give everything back but its records. Succeeds when done before.

        It goes on to its end when the caller gives up.
        """
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self.record.state is not SandboxState.STARTING:  # Then nothing of it is left.
            with log.about(self.context.subject()):
                await aio.to_its_end(self._stop())

    async def end(self, timeout: float) -> None:
        """Ask its containers to end, at the same time; kill those that have not after `timeout` seconds; then stop it.

        Meanwhile no container is made or started in it: nobody restarts one that has ended. When the caller gives up,
        the sandbox goes on with those that have not ended.
        """
        self.context.ending = True
        try:
            if self.context.usable is not None:
                await self.containers.ask_to_end(timeout)
            await self.stop()
        finally:
            self.context.ending = False

    async def remove(self) -> None:
        """Stop it, and remove its containers and its record."""
        await self.stop()
        with log.about(self.context.subject()):
            await aio.to_its_end(self._remove())

    async def close(self) -> None:
        """Let go of what this process holds of it; the machine goes on."""
        await self.size.close()
        running = self.context.machine
        if running is not None:
            await running.unwatch()
        await self.containers.close()
        if running is not None:
            await running.close()
        elif self._machine is not None:
            await self._machine.close()

    def adopt(self, machine: Machine, client: GuestClient) -> RunningMachine:
        """From now on the machine is ours, and its death our containers'."""
        return self.context.adopt(self._host, machine, client, self.record.vcpus, self.fail)

    def new_machine(self) -> Machine:
        """Make the object of the machine, neither booted nor taken back yet. It hands its events to the sandbox."""
        secret = bytes.fromhex(self.record.secret)
        self._machine = Machine(self._host, self.record.id, self.record.config, secret, self._on_event)
        return self._machine

    def console_since(self, position: int) -> tuple[str, int]:
        """Return what its guest has printed (`ConsoleReader.since`). Raises FailedPrecondition: it has no machine."""
        if self._machine is None:
            raise FailedPrecondition(f"{self.context.pod} has no machine any more, and so no console")
        return self._machine.console_since(position)

    def fail(self, error: BaseException) -> None:
        """Record that the machine is of no use any more; the first reason counts. `stop` gives everything back."""
        told = explained(error)
        message, was_of_use = told.report(), self.record.state is not SandboxState.NOTREADY
        with log.about(self.context.subject()):
            extra = log.of_error(told)
            _lives.error("%s has ended: %s", self.context.pod, told, exc_info=error.__cause__, extra=extra)
        if was_of_use:
            reason = self._machine.ended_by if self._machine is not None else ""
            SANDBOX_FAILURES.add("running", reason or code_of(error))
            self.keeper.change(state=SandboxState.NOTREADY, message=message)
        end_all(self.context, self.containers, error)
        if self._machine is not None:
            self._machine.hang_up(Unavailable(str(error)))
        if was_of_use:
            self.keeper.announce(ContainerEventKind.STOPPED)

    async def _make(self, plan: MachinePlan) -> None:
        with start_told(self.context, self.record, lambda: self._machine):
            try:
                machine, client = await self._start.machine(plan)
            except BaseException as error:
                failed, self._machine = self._machine, None
                if failed is not None and failed.left_something:
                    self.keeper.change(state=SandboxState.NOTREADY, message=str(error))
                else:
                    self.keeper.discard()
                raise
            self.adopt(machine, client)
            self.keeper.change(
                state=SandboxState.READY,
                network=machine.network,
                kernel=machine.peer.kernel,
                boot_id=machine.peer.boot_id,
                timings=machine.timings,
                start=self._start.timings(machine),
            )
            self.keeper.announce(ContainerEventKind.STARTED)

    async def _stop(self) -> None:
        async with self._lock:
            was_ready = self.keeper.is_ready
            if self.record.state is not SandboxState.NOTREADY:
                self.keeper.change(state=SandboxState.NOTREADY)
            if self._machine is not None:
                await shut_down(self.context, self.containers, self._machine)
                await self.close()
                self._machine = self.context.machine = None
            if not self._given_back:
                await give_back(self._host, self.record.id)
                self._given_back = True
            self._admission.release(self.record.id)
            if was_ready:
                _lives.info("%s has ended: it was stopped", self.context.pod)
                self.keeper.announce(ContainerEventKind.STOPPED)

    async def _join_network(self, source: Path) -> None:
        async with self._lock:
            if self.record.config.late_network and self.record.network is None:
                plan = self._host.plan(self.record.id, self.record.config, self._admission.bound)
                network = await join_late(self._host, plan, self.context.running().client, source)
                self.keeper.change(network=network)

    async def _remove(self) -> None:
        async with self._lock:
            for container_id in tuple(self.containers):
                await self.containers.remove(container_id)
            self.keeper.delete()
            if not self._removed:
                self._removed = True
                _lives.info("%s is removed", self.context.pod)
                self.keeper.announce(ContainerEventKind.DELETED)

    async def _on_event(self, event: Event) -> None:
        if event.exec_id:
            if self.context.machine is not None:
                self.context.machine.execs.exited(event)
        else:
            await self.containers.exited(event)

    def _publish_of_container(self, event: ContainerEvent) -> None:
        self._publish(event)
        if event.kind is ContainerEventKind.STOPPED and self.keeper.is_ready:
            self.size.follow()
