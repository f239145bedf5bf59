"""The life of one container, from its record to its removal."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vmsandbox import aio, log
from vmsandbox.errors import DeadlineExceeded, VmsandboxError
from vmsandbox.guest.client import GuestClient
from vmsandbox.model import ContainerEvent, ContainerEventKind, ContainerState, ContainerStatus, Output, Resources
from vmsandbox.protocol import paths
from vmsandbox.protocol.messages import CreateContainer, Exit, MakeTmpfs, Stream
from vmsandbox.sandbox import mounts, spec
from vmsandbox.sandbox.disks import ImageDisks
from vmsandbox.sandbox.layout import SandboxLayout
from vmsandbox.sandbox.logs import ContainerLog
from vmsandbox.sandbox.output import OutputPump, OutputSource
from vmsandbox.sandbox.records import ContainerRecord
from vmsandbox.sandbox.states import ContainerCall, require_container
from vmsandbox.state import State

_log = log.get(__name__)

KILL_DEADLINE = 30.0
"""Seconds in which a killed container has to end; only a process stuck in the guest's kernel does not."""

EXIT_UNKNOWN = 255
"""Exit code of a container whose machine died, as containerd has it for a task whose shim died."""

START_FAILED = 128
"""Exit code of a container whose process could not be started, as containerd has it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the containers of one sandbox have in common; the sandbox owns it."""

    client: GuestClient
    disks: ImageDisks
    layout: SandboxLayout
    state: State
    hostname: str
    publish: Callable[[ContainerEvent], None]


class Container:
    """One container. Calls that change it take `lock`; its record is written before and after each step."""

    def __init__(self, surroundings: Surroundings, record: ContainerRecord) -> None:
        """Make it known; `create` makes it in the guest."""
        self.record = record
        self._around = surroundings
        self._lock = asyncio.Lock()
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._pump: OutputPump | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._holds_disk = False

    @property
    def status(self) -> ContainerStatus:
        """What the CRI tells of it."""
        return self.record.status()

    async def create(self) -> None:
        """Make the container in the guest; its process waits for `start`. On failure nothing of it is left."""
        self._save()
        try:
            async with self._lock:
                await self._create()
        except BaseException:
            await aio.to_its_end(self._abandon())
            raise
        self._change(ContainerEventKind.CREATED, state=ContainerState.CREATED)

    async def start(self) -> None:
        """Let its process run.

        Raises:
            FailedPrecondition: it is not just created.
            VmsandboxError: it could not be started; it is EXITED then, with the reason.
        """
        async with self._lock:
            require_container(ContainerCall.START, self.record.id, self.record.state)
            try:
                await self._around.client.start_container(self.record.id)
            except VmsandboxError as error:
                self._set_exited(START_FAILED, "StartError", str(error), time.time_ns())
                raise
            self._change(ContainerEventKind.STARTED, state=ContainerState.RUNNING, started_at=time.time_ns())

    async def stop(self, timeout: float) -> None:
        """Ask its process to end; after `timeout` seconds (0: at once) kill all of it. Succeeds when it has ended.

        Raises:
            DeadlineExceeded: it does not end although it was killed.
        """
        if self.record.state not in (ContainerState.CREATED, ContainerState.RUNNING):
            return
        if timeout > 0 and self.record.state is ContainerState.RUNNING:
            await self._signal(spec.stop_signal(self.record.config, self.record.image_config))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._ended.wait()
        if not self._ended.is_set():
            await self._kill()

    async def remove(self) -> None:
        """End it if it runs, and remove all of it but its log. Succeeds when that was done before."""
        await self.stop(0)
        async with self._lock:
            await self._abandon()
            self._publish(ContainerEventKind.DELETED)

    async def wait(self) -> ContainerStatus:
        """Its status, when it has ended and its output is in the log."""
        await self._ended.wait()
        return self.status

    def output(self) -> AsyncGenerator[Output, None]:
        """Its output from now on, to its end; see `output.Readers`."""
        assert self._pump is not None
        return self._pump.readers.read()

    async def update(self, resources: Resources) -> None:
        """Change its limits (CRI UpdateContainerResources).

        Raises:
            FailedPrecondition: it has ended.
        """
        async with self._lock:
            require_container(ContainerCall.UPDATE, self.record.id, self.record.state)
            await self._around.client.update_resources(self.record.id, spec.build_resources(resources))
            self.record = replace(self.record, config=replace(self.record.config, resources=resources))
            self._save()

    def reopen_log(self) -> None:
        """Go on in a new log file (CRI ReopenContainerLog). Raises FailedPrecondition unless it runs."""
        require_container(ContainerCall.REOPEN_LOG, self.record.id, self.record.state)
        assert self._pump is not None
        self._pump.log.reopen()

    def exited(self, event: Exit) -> None:
        """The agent says that its process has ended."""
        if not self._exit.done():
            self._exit.set_result(event)

    def machine_died(self, error: BaseException) -> None:
        """Its machine is gone, and so is what of its output had not arrived."""
        if self._ended.is_set():
            return
        message = error.report() if isinstance(error, VmsandboxError) else str(error)
        self._set_exited(EXIT_UNKNOWN, "SandboxDied", message, time.time_ns())
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """End what this process does for it; it goes on in the guest."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _create(self) -> None:
        record, around = self.record, self._around
        image = await around.disks.acquire(record.image_id)
        self._holds_disk = True
        sources = [await self._mount(index) for index in range(len(record.config.mounts))]
        inputs = spec.SpecInputs(record.id, record.config, record.image_config, around.hostname, sources)
        await around.client.create_container(
            CreateContainer(
                container_id=record.id,
                image_serial=image.serial,
                spec=spec.build_spec(inputs),
                user=spec.build_user(record.config, record.image_config),
                stdin=record.config.stdin,
                tty=record.config.tty,
            )
        )
        self._follow()

    async def _mount(self, index: int) -> str:
        """Make the source of a volume, and return its path in the guest."""
        mount, around = self.record.config.mounts[index], self._around
        if mount.tmpfs:
            await around.client.make_tmpfs(MakeTmpfs(mount.tmpfs, mount.tmpfs_size))
            return f"{paths.TMPFS}/{mount.tmpfs}"
        target = around.layout.volume(self.record.id, index)
        mounts.bind(Path(mount.host_path), target, readonly=mount.readonly)
        return f"{paths.SHARE}/{target.relative_to(around.layout.share)}"

    def _follow(self) -> None:
        """Take its output and its end from the agent, each in a task of its own."""
        record = self.record
        streams = [Stream.STDOUT] if record.config.tty else [Stream.STDOUT, Stream.STDERR]
        written = ContainerLog(
            Path(record.log_path) if record.log_path else None, self._around.layout.position(record.id)
        )
        self._pump = OutputPump(written, streams, self._open_output)
        pumping = asyncio.create_task(self._pump.run(), name=f"output of {record.id}")
        self._tasks = [pumping, asyncio.create_task(self._finish(pumping), name=f"end of {record.id}")]

    def _open_output(self, stream: Stream, offset: int) -> AbstractAsyncContextManager[OutputSource]:
        return self._around.client.output(self.record.id, stream, offset=offset)

    async def _finish(self, pumping: asyncio.Task[None]) -> None:
        """Note the end when both have come: that of the process, and that of its output."""
        event = await asyncio.shield(self._exit)
        await asyncio.wait([pumping])
        if not pumping.cancelled() and (error := pumping.exception()):
            _log.error("the output of container %s is cut: %s", self.record.id, error)
        async with self._lock:
            reason = "OOMKilled" if event.oom_killed else "Error" if event.exit_code else "Completed"
            self._set_exited(event.exit_code, reason, "", event.at)

    def _set_exited(self, code: int, reason: str, message: str, at: int) -> None:
        if self._ended.is_set():
            return
        self._change(
            ContainerEventKind.STOPPED,
            state=ContainerState.EXITED,
            exit_code=code,
            reason=reason,
            message=message,
            finished_at=at,
        )
        self._ended.set()

    async def _signal(self, number: int, *, everyone: bool = False) -> None:
        await self._around.client.signal_container(self.record.id, number, everyone=everyone)

    async def _kill(self) -> None:
        await self._signal(signal.SIGKILL, everyone=True)
        try:
            async with asyncio.timeout(KILL_DEADLINE):
                await self._ended.wait()
        except TimeoutError:
            raise DeadlineExceeded(
                f"container {self.record.id} did not end within {KILL_DEADLINE:g} s of being killed"
            ) from None

    async def _abandon(self) -> None:
        """Remove all traces; what the guest holds goes with it where the guest does not answer any more."""
        around, record = self._around, self.record
        await self.close()
        with contextlib.suppress(VmsandboxError):
            await around.client.delete_container(record.id)
            if self._holds_disk:
                self._holds_disk = False
                await around.disks.release(record.image_id)
        around.layout.remove_volumes(record.id)
        around.layout.position(record.id).unlink(missing_ok=True)
        around.state.delete(ContainerRecord, record.id)

    def _change(self, kind: ContainerEventKind, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        self._save()
        self._publish(kind)

    def _save(self) -> None:
        self._around.state.put(self.record.id, self.record)

    def _publish(self, kind: ContainerEventKind) -> None:
        self._around.publish(ContainerEvent(self.record.id, self.record.sandbox_id, kind, time.time_ns()))
