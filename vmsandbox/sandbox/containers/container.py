"""The life of one container, from its record to its removal."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from vmsandbox import aio, log
from vmsandbox.errors import Unavailable, VmsandboxError
from vmsandbox.model import (
    ContainerEventKind,
    ContainerState,
    ContainerStatus,
    ContainerTimings,
    ContainerUser,
    ExecRequest,
    ExecResult,
    Output,
    Resources,
)
from vmsandbox.protocol.messages import ListedProcess
from vmsandbox.sandbox.containers import container_factory, stopping
from vmsandbox.sandbox.containers.context import ContainerContext
from vmsandbox.sandbox.containers.record_keeper import RecordKeeper
from vmsandbox.sandbox.spec import ContainerCall, build_update, require_container
from vmsandbox.sandbox.streams import AttachedClient, ContainerLog, ExecProcess, OutputTask, Readers, open_log
from vmsandbox.state import ContainerRecord
from vmsandbox.telemetry import Step, step

_log = log.get(__name__)

START_FAILED = 128
"""Exit code of a container whose process could not be started, as in containerd."""


class Container:
    """One container. Calls that change it take a lock; its keeper is written before and after each step."""

    def __init__(self, context: ContainerContext, record: ContainerRecord) -> None:
        """Make it known; `create` makes it in the guest, `take_back` finds it there."""
        self.keeper = RecordKeeper(context, record)
        """The journal; code that learns of the container's end records it there."""
        self._context = context
        self._lock = asyncio.Lock()
        self._output_task: OutputTask | None = None
        self._finishing: asyncio.Task[None] | None = None

    @property
    def record(self) -> ContainerRecord:
        """The record of the container."""
        return self.keeper.record

    @property
    def status(self) -> ContainerStatus:
        """The status for the CRI."""
        return self.record.status()

    def require(self, call: ContainerCall) -> None:
        """Raise FailedPrecondition unless the call is legal in the container's state."""
        require_container(call, self.record.id, self.record.state)

    async def create(self) -> None:
        """Make the container in the guest; its process waits for `start`. On failure nothing of it is left."""
        self.keeper.save()
        try:
            async with self._lock:
                with log.about(self._context.subject(self.record)):
                    await self._create()
        except BaseException:
            await aio.to_its_end(self.forget())
            raise

    async def start(self) -> None:
        """Let its process run; goes on to its end when the caller gives up.

        Raises:
            FailedPrecondition: it is not just created.
            Cancelled: its sandbox is being ended.
            VmsandboxError: it could not be started; it is EXITED then, with the reason.
        """
        with log.about(self._context.subject(self.record)):
            await aio.to_its_end(self._start())

    async def stop(self, timeout: float) -> None:
        """Ask its process to end; after `timeout` seconds (0: at once) kill all of it. Succeeds when it has ended.

        Output that waits for a reader is then waited for no longer.

        Raises:
            DeadlineExceeded: it does not end although it was killed.
        """
        if self._output_task is not None:
            self._output_task.pump.readers.release()
        await stopping.stop(self._context, self.keeper, timeout)

    async def ask_to_end(self, timeout: float) -> None:
        """Ask its process to end; return when it has, or after `timeout` seconds. Raises VmsandboxError."""
        await stopping.ask(self._context, self.keeper, timeout)

    async def signal(self, number: int, *, everyone: bool = False) -> None:
        """Send a signal to its first process, or to all. Raises FailedPrecondition unless it runs."""
        self.require(ContainerCall.SIGNAL)
        await self._context.running().client.signal_container(self.record.id, number, everyone=everyone)

    async def freeze(self, *, frozen: bool) -> None:
        """Keep all its processes from running, or let them go on. Raises FailedPrecondition: it has ended."""
        self.require(ContainerCall.FREEZE)
        await self._context.running().client.freeze_container(self.record.id, frozen=frozen)

    async def processes(self) -> tuple[ListedProcess, ...]:
        """Return its processes. Raises FailedPrecondition: it has ended."""
        self.require(ContainerCall.LIST_PROCESSES)
        return await self._context.running().client.list_processes(self.record.id)

    async def remove(self) -> None:
        """End it if it runs, and remove all of it but its log. Succeeds when that was done before.

        Raises:
            VmsandboxError: its guest, which runs, does not let it go; the call may be repeated.
        """
        await self.stop(0)
        async with self._lock:
            await aio.to_its_end(self._remove())

    async def wait(self) -> ContainerStatus:
        """Wait until the container has ended and its output is in the log; return its status."""
        await self.keeper.ended.wait()
        return self.status

    async def settled(self) -> None:
        """Return when no call is changing it."""
        async with self._lock:
            pass

    def output(self) -> AsyncGenerator[Output, None]:
        """Yield the output from now on, to its end; see `output.Readers`."""
        if self._output_task is None:
            return Readers(ended=True).read()
        return self._output_task.pump.readers.read()

    def attach(self, *, stdin: bool, output: bool) -> AbstractAsyncContextManager[AttachedClient]:
        """Join its streams; see `attach.AttachedClients`. Raises FailedPrecondition when it has ended."""
        self.require(ContainerCall.ATTACH)
        assert self._output_task is not None
        return self._output_task.attachments.attach(stdin=stdin, output=output)

    async def exec_sync(self, command: tuple[str, ...], timeout: float) -> ExecResult:
        """Run a command in it to the command's end; see `Execs.run`. Raises FailedPrecondition, Unavailable."""
        self.require(ContainerCall.EXEC)
        execs, hostname = self._context.running().execs, self._context.hostname
        return await execs.run(self.record, hostname, command, timeout)

    def exec(self, request: ExecRequest) -> AbstractAsyncContextManager[ExecProcess]:
        """Run a command in it with a client; see `Execs.open`. Raises FailedPrecondition, Unavailable."""
        self.require(ContainerCall.EXEC)
        execs, hostname = self._context.running().execs, self._context.hostname
        return execs.open(
            self.record,
            hostname,
            request.command,
            stdin=request.stdin,
            tty=request.tty,
            given=request.process,
        )

    async def update(self, wanted: Resources) -> None:
        """Give it other limits, all of them; where that fails, the old ones go on (CRI UpdateContainerResources).

        They are recorded first: a process that is killed meanwhile has said nothing to its caller, and the next one
        gives the old ones back.

        Raises:
            FailedPrecondition: it has ended; or it uses more memory than the new limit.
            VmsandboxError: the guest fails.
        """
        async with self._lock:
            self.require(ContainerCall.UPDATE)
            before = self.record.config.resources
            self.keeper.save(updating=wanted)
            try:
                await self._limit(before, wanted)
            except VmsandboxError:
                await self._put_back()
                raise
            self.keeper.save(config=replace(self.record.config, resources=wanted), updating=None)

    async def reopen_log(self) -> None:
        """Go on in a new log file (CRI ReopenContainerLog).

        Raises:
            FailedPrecondition: it does not run.
            VmsandboxError: as `open_log`.
        """
        self.require(ContainerCall.REOPEN_LOG)
        if self._output_task is not None:
            await self._output_task.pump.log.reopen()

    async def take_back(self, state: ContainerState) -> None:
        """Follow it again, after this process was restarted; `state` is what it is in the guest.

        Raises:
            VmsandboxError: as `open_log`.
        """
        if state is ContainerState.RUNNING and self.record.state is ContainerState.CREATED:
            self.keeper.started(self.record.timings)
        await self._follow()
        if self.record.updating is not None:
            await self._put_back()

    async def close(self) -> None:
        """End what this process does for it; it goes on in the guest."""
        if self._finishing is not None:
            await aio.cancel(self._finishing)
        if self._output_task is not None:
            await self._output_task.close()

    async def forget(self) -> None:
        """Remove all traces. What cannot be removed is logged, and given back with its machine."""
        try:
            await self._give_back()
        except Exception as error:
            _log.warning("container %s is given back with its machine: %s", self.record.id, error)
        self.keeper.discard()

    async def _limit(self, before: Resources, wanted: Resources) -> None:
        change, client = build_update(before, wanted), self._context.running().client
        await client.update_resources(self.record.id, change, cpus=wanted.cpuset_cpus)

    async def _put_back(self) -> None:
        """Give the recorded limits back after an update that failed. If that fails, it is done again with the next."""
        assert self.record.updating is not None
        try:
            await self._limit(self.record.updating, self.record.config.resources)
        except VmsandboxError as error:
            _log.warning("the old limits of container %s are not given back: %s", self.record.id, error)
        else:
            self.keeper.save(updating=None)

    async def _create(self) -> None:
        begun = time.monotonic()
        request = await container_factory.prepare(self._context, self.record)
        machine = self._context.running()
        self.keeper.save(disks=machine.disks.of(self.record.id), blocks=machine.blocks.of(self.record.id))
        with step(Step.CREATE):
            user = await machine.client.create_container(request)
        await self._follow()
        self._context.running()  # It may have died meanwhile, when this was not a container yet.
        self.keeper.tell(
            ContainerEventKind.CREATED,
            state=ContainerState.CREATED,
            user=ContainerUser(user.uid, user.gid, user.groups),
            timings=ContainerTimings(created=_since(begun)),
        )

    async def _start(self) -> None:
        begun = time.monotonic()
        async with self._lock:
            self.require(ContainerCall.START)
            self._context.require_lasting()
            try:
                with step(Step.START):
                    await self._context.running().client.start_container(self.record.id)
            except Unavailable:
                if not await self._runs():  # The connection was lost, perhaps after it was done.
                    raise
            except VmsandboxError as error:
                now = time.time_ns()
                self.keeper.end(exit_code=START_FAILED, reason="StartError", message=str(error), finished_at=now)
                raise
            self.keeper.started(replace(self.record.timings, started=_since(begun)))

    async def _runs(self) -> bool:
        """Return whether the container was started, from the agent's list."""
        listed = await self._context.running().client.list_containers()
        return any(state.container_id == self.record.id and state.status != "created" for state in listed)

    async def _remove(self) -> None:
        await self._give_back()
        self.keeper.removed()

    async def _give_back(self) -> None:
        await self.close()
        await container_factory.give_back(self._context, self.record.id)

    async def _follow(self) -> None:
        client = self._context.running().client
        self._output_task = OutputTask(self.record, await self._open_log(), client)
        self._finishing = asyncio.create_task(self._finish(self._output_task), name=f"end of {self.record.id}")
        self._finishing.add_done_callback(aio.report)

    async def _open_log(self) -> ContainerLog:
        context = self._context
        position, directory = context.layout.position(self.record.id), Path(context.config.log_directory)
        return await open_log(self.record, position, directory, context.paths)

    async def _finish(self, output_task: OutputTask) -> None:
        """Note the end when both have come: that of the process, and that of its output."""
        await self.keeper.exit.wait()
        await output_task.finished()
        async with self._lock:
            self.keeper.end()


def _since(moment: float) -> float:
    """The seconds since a moment of the monotonic clock, to the millisecond."""
    return round(time.monotonic() - moment, 3)
