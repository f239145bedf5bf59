"""The life of one PodSandbox: its machine, its containers, and what is left to give back."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from vmsandbox import aio, log
from vmsandbox.config import MACHINE_HANDLER
from vmsandbox.errors import Cancelled, Unavailable, VmsandboxError, explained
from vmsandbox.guest import GuestClient, PortStream
from vmsandbox.hypervisor import MachineEvent
from vmsandbox.model import (
    ContainerConfig,
    ContainerEvent,
    ContainerEventKind,
    SandboxState,
    SandboxStatus,
)
from vmsandbox.protocol.messages import Event
from vmsandbox.sandbox.containers import ContainerContext, SandboxContainers
from vmsandbox.sandbox.lifecycle.admission import Admission
from vmsandbox.sandbox.machines import Host, Machine, RunningMachine, give_back
from vmsandbox.sandbox.spec import (
    MachinePlan,
    SandboxCall,
    require_sandbox,
)
from vmsandbox.state import SandboxRecord

_log = log.get(__name__)
_lives = log.get("vmsandbox.pods")
"""The journal of the lives of pods: a line when one is made, ready, ended and removed."""

_END_DEADLINE = 15.0
"""Seconds that killed containers have to end; after them the machine ends, and how they ended stays unknown."""


class Sandbox:
    """One sandbox. Calls that change it as a whole take its lock; those on one container take that one's."""

    def __init__(
        self, host: Host, admission: Admission, record: SandboxRecord, publish: Callable[[ContainerEvent], None]
    ) -> None:
        """Make it known; `start` makes its machine. `publish` takes the events of it and its containers."""
        self.record = record
        self._host = host
        self._admission = admission
        self._publish = publish
        self._lock = asyncio.Lock()
        self.context = ContainerContext(record.id, record.config, host.layout(record.id), host.state, publish)
        self.containers = SandboxContainers(self.context, host.images)
        self._removed = False
        self._starting: asyncio.Task[None] | None = None
        self._machine: Machine | None = None
        """The machine, from its first acquired resource on; `context.machine` is set while it runs."""

    @property
    def status(self) -> SandboxStatus:
        """The status for the CRI."""
        return replace(self.record.status(), ending=self.context.ending)

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is left: its boot has failed, or it was removed."""
        return self._removed or (self.record.state is SandboxState.STARTING and self._starting is None)

    def require(self, call: SandboxCall) -> None:
        """Raise FailedPrecondition unless the call is legal in the sandbox's state."""
        require_sandbox(call, self.record.id, self.record.state)

    async def start(self, plan: MachinePlan) -> None:
        """Boot its machine, when its turn has come.

        On failure nothing of it is left, and it is STARTING for ever; where something cannot be given back, it is
        NOTREADY instead, so that it can be stopped again.

        Raises:
            Cancelled: it was stopped meanwhile.
        """
        self._starting = asyncio.ensure_future(self._start(plan))
        try:
            await asyncio.shield(self._starting)
        except asyncio.CancelledError:
            stopped = self._starting.cancelled()
            self._starting.cancel()
            await aio.to_its_end(asyncio.wait([self._starting]))
            if stopped:
                raise Cancelled(f"sandbox {self.record.id} was stopped before it was ready") from None
            if self.record.state is SandboxState.READY:  # It was quicker.
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
        return await self.containers.create(config, self.record)

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
                await self.containers.stop(timeout)
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
        context, record = self.context, self.record
        context.machine = RunningMachine(
            self._host,
            record.id,
            record.config,
            machine=machine,
            client=client,
            shared=context.shared_volumes,
            paths=context.paths,
            on_failure=self.fail,
        )
        context.gone = ""
        return context.machine

    def new_machine(self) -> Machine:
        """Make the object of the machine, neither booted nor taken back yet. It hands its events to the sandbox."""
        secret = bytes.fromhex(self.record.secret)
        self._machine = Machine(self._host, self.record.id, self.record.config, secret, self._on_event)
        return self._machine

    def fail(self, error: BaseException) -> None:
        """Record that the machine is of no use any more; the first reason counts. `stop` gives everything back."""
        told = explained(error)
        message, was_of_use = told.report(), self.record.state is not SandboxState.NOTREADY
        with log.about(self.context.subject()):
            extra = log.of_error(told)
            _lives.error("%s has ended: %s", self.context.pod, told, exc_info=error.__cause__, extra=extra)
        if was_of_use:
            self._change(state=SandboxState.NOTREADY, message=message)
        self._end_all(error)
        if self._machine is not None:
            self._machine.hang_up(Unavailable(str(error)))
        if was_of_use:
            self._announce(ContainerEventKind.STOPPED)

    async def _start(self, plan: MachinePlan) -> None:
        pod, record = self.context.pod, self.record
        size, handler = (record.vcpus, record.memory >> 20), record.config.runtime_handler or MACHINE_HANDLER
        with log.about(self.context.subject()):
            _lives.info("%s is being made: vCPUs %d, memory %d MiB, handler %s", pod, *size, handler)
            try:
                await self._admit_and_boot(plan)
            except asyncio.CancelledError:
                _lives.info("%s was given up before it was ready", pod)
                raise
            except BaseException as error:
                _lives.error("%s is not made: %s", pod, error, extra=log.of_error(error))
                raise
            _lives.info("%s is ready after %.1f s", pod, (time.time_ns() - self.record.created_at) / 1e9)

    async def _admit_and_boot(self, plan: MachinePlan) -> None:
        try:
            await self._admission.admit(self.record.id, self.record.memory)
            async with self._admission.booting():
                await self._boot(plan)
        except BaseException:
            self._admission.release(self.record.id)
            raise

    async def _boot(self, plan: MachinePlan) -> None:
        self._host.state.put(self.record.id, self.record)
        try:
            machine, client = await self._boot_machine(plan)
        except BaseException as error:
            failed, self._machine = self._machine, None
            if failed is not None and failed.left_something:
                self._change(state=SandboxState.NOTREADY, message=str(error))
            else:
                self._host.state.delete(SandboxRecord, self.record.id)
            raise
        self.adopt(machine, client)
        self._change(
            state=SandboxState.READY,
            network=machine.network,
            kernel=machine.peer.kernel,
            boot_id=machine.peer.boot_id,
            timings=machine.timings,
        )
        self._announce(ContainerEventKind.STARTED)

    async def _boot_machine(self, plan: MachinePlan) -> tuple[Machine, GuestClient]:
        """Boot the machine; if it dies before the agent answers, boot once more."""
        machine = self.new_machine()
        try:
            return machine, await machine.boot(plan)
        except VmsandboxError as error:
            if not machine.died_early or machine.left_something:
                raise
            _log.warning("sandbox %s is booted once more: %s", self.record.id, error, extra=log.of_error(error))
        machine = self.new_machine()
        self._change(boots=self.record.boots + 1)
        return machine, await machine.boot(plan)

    async def _stop(self) -> None:
        async with self._lock:
            was_ready = self.record.state is SandboxState.READY
            if self.record.state is not SandboxState.NOTREADY:
                self._change(state=SandboxState.NOTREADY)
            if self._machine is not None:
                await self._stop_machine(self._machine)
            await give_back(self._host, self.record.id)
            self._admission.release(self.record.id)
            if was_ready:
                _lives.info("%s has ended: it was stopped", self.context.pod)
                self._announce(ContainerEventKind.STOPPED)

    async def _remove(self) -> None:
        async with self._lock:
            for container_id in tuple(self.containers):
                await self.containers.remove(container_id)
            self._host.state.delete(SandboxRecord, self.record.id)
            if not self._removed:
                self._removed = True
                _lives.info("%s is removed", self.context.pod)
                self._announce(ContainerEventKind.DELETED)

    def _end_all(self, error: BaseException) -> None:
        self.context.gone = str(error) or type(error).__name__
        self.containers.machine_died(error)
        if self.context.machine is not None:
            self.context.machine.execs.fail(error)

    async def _stop_machine(self, machine: Machine) -> None:
        """Containers first, so that their ends and their output are known; then the guest itself."""
        if self.context.machine is not None:
            await self.context.machine.unwatch()
        running = self.context.usable
        if running is not None and not running.has_failed:
            with contextlib.suppress(VmsandboxError, TimeoutError):
                async with asyncio.timeout(_END_DEADLINE):
                    await aio.unless(self.containers.stop(0), machine.failure)
            await running.shut_down()
        self._end_all(Unavailable("the sandbox was stopped"))
        await machine.close()
        await self.containers.settled()
        await self.close()
        self._machine = self.context.machine = None

    async def _on_event(self, event: Event) -> None:
        if event.exec_id:
            if self.context.machine is not None:
                self.context.machine.execs.exited(event)
        else:
            await self.containers.exited(event)

    def _announce(self, kind: ContainerEventKind) -> None:
        self._publish(ContainerEvent(self.record.id, self.record.id, kind, time.time_ns()))

    def _change(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        self._host.state.note(self.record.id, self.record)
