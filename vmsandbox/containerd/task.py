"""One task: a container, its own process and the commands in it, as containerd sees them."""

import asyncio
import os
import time
from typing import Any

from vmsandbox import aio, log
from vmsandbox.containerd.daemon import Daemon
from vmsandbox.containerd.events import Containerd
from vmsandbox.containerd.fifos import StreamPaths
from vmsandbox.containerd.messages import time_of
from vmsandbox.containerd.process import LOST, Exit, Process
from vmsandbox.errors import AlreadyExists, FailedPrecondition, NotFound
from vmsandbox.oci_command.store import Entry

_log = log.get(__name__)

CREATED, RUNNING, STOPPED, PAUSED = 1, 2, 3, 4
"""containerd's numbers of states (`containerd.v1.types.Status`)."""

_KILL, _TERM = 9, 15


class Running:
    """A process of a task, whose end is known at any time."""

    def __init__(self, process: Process, paths: StreamPaths) -> None:
        """Nothing runs yet."""
        self.process = process
        self.paths = paths
        self.started = False
        self.exit: Exit | None = None
        self.ended = asyncio.Event()
        self._carrying: asyncio.Task[None] | None = None

    @property
    def state(self) -> int:
        """The state, as containerd numbers them."""
        if self.exit is not None:
            return STOPPED
        return RUNNING if self.started else CREATED

    def carry(self, ended: Any) -> None:
        """Carry its streams in the background; `ended` is called with its end."""

        async def carrying() -> None:
            try:
                exit_ = await self.process.run()
            except Exception:
                self.end(ended, Exit(LOST))
                raise
            self.end(ended, exit_)

        self._carrying = asyncio.create_task(carrying(), name="streams of a process")
        self._carrying.add_done_callback(aio.report)

    def end(self, ended: Any, exit_: Exit) -> None:
        """Have it ended; those who wait know it, whatever becomes of the call."""
        self.exit = exit_
        self.ended.set()
        ended(exit_)

    async def close(self) -> None:
        """Let go of it: nobody is to wait for it any more. One that ran is lost."""
        if self._carrying is not None:
            await aio.cancel(self._carrying)
        if self.exit is None and self.started:
            self.exit = Exit(LOST)
        self.ended.set()


class Task:
    """A container; `entry` is what is kept of it."""

    def __init__(self, namespace: str, entry: Entry, daemon: Daemon, containerd: Containerd) -> None:
        """Name it. Its container is the daemon's."""
        self.entry = entry
        self.pid = os.getpid()
        """containerd wants a process for each; the one that serves it is all that this host has of it."""
        self._namespace = namespace
        self._daemon = daemon
        self._containerd = containerd
        paths = StreamPaths(*entry.values["streams"])
        request = {"name": "attach", "container": entry.container}
        self.own = Running(Process(daemon, request, paths, lasting=True), paths)
        self.own.started = bool(entry.values.get("started"))
        if has := entry.values.get("exit"):
            self.own.exit = Exit(has["status"], has["at"])
            self.own.ended.set()
        self._execs: dict[str, Running] = {}

    @property
    def sandbox(self) -> str:
        """The id of its pod."""
        return str(self.entry.values["sandbox"])

    def process(self, exec_id: str) -> Running:
        """Return the process of an exec; the container's own for an empty id. Raises NotFound."""
        try:
            return self._execs[exec_id] if exec_id else self.own
        except KeyError:
            raise NotFound(f"there is no exec {exec_id} in the task {self.entry.id}") from None

    def state(self, exec_id: str) -> int:
        """Return the state of a process. Raises NotFound."""
        state = self.process(exec_id).state
        return PAUSED if state == RUNNING and not exec_id and self.entry.values.get("paused") else state

    async def begin(self, *, again: bool = False) -> None:
        """Have the streams of the container's own process carried; `again`: an earlier process of ours had them."""
        if self.own.exit is None:
            if not again:
                await self.own.process.connect()
            self.own.carry(self._own_ended)

    async def start(self, exec_id: str) -> None:
        """Let a process run. Raises NotFound, FailedPrecondition, as the daemon."""
        process = self.process(exec_id)
        if process.state != CREATED:
            raise FailedPrecondition(f"the process {exec_id or self.entry.id} was started before")
        if exec_id:
            await process.process.connect()
            process.started = True
            process.carry(lambda exit_: self._tell_exit(exec_id, exit_))
            self.publish("TaskExecStarted", exec_id=exec_id, pid=self.pid)
        else:
            await self._daemon.call("start", container=self.entry.container, network="")
            process.started = True
            self.entry.save(started=True)
            self.publish("TaskStart", pid=self.pid)

    def exec(self, exec_id: str, spec: dict[str, Any], paths: StreamPaths) -> None:
        """Have another process, which waits for `start`. Raises AlreadyExists."""
        if exec_id in self._execs:
            raise AlreadyExists(f"there is an exec {exec_id} in the task {self.entry.id}")
        request = {"name": "exec", "container": self.entry.container, "process": spec}
        self._execs[exec_id] = Running(Process(self._daemon, request, paths, lasting=False), paths)
        self.publish("TaskExecAdded", exec_id=exec_id)

    async def delete_exec(self, exec_id: str) -> Running:
        """Forget a process that has ended, or was not started. Raises NotFound, FailedPrecondition."""
        process = self.process(exec_id)
        if process.state == RUNNING:
            raise FailedPrecondition(f"the exec {exec_id} runs")
        del self._execs[exec_id]
        await process.close()
        return process

    async def kill(self, exec_id: str, signal: int, *, everyone: bool) -> None:
        """Send a signal. Raises NotFound: it has ended, which callers look for; as the daemon."""
        process = self.process(exec_id)
        if process.exit is not None:
            raise NotFound("process already finished")
        if signal == _KILL:
            for each in (process,) if exec_id else (process, *self._execs.values()):
                each.process.hurry()
        if exec_id and not process.started:
            if signal in (_KILL, _TERM):
                process.end(lambda _: None, Exit(128 + signal))
            return
        try:
            if exec_id:
                await process.process.signal(signal)
            else:
                await self._daemon.call("kill", container=self.entry.container, signal=str(signal), all=everyone)
        except FailedPrecondition:  # Its end is still on its way.
            raise NotFound("process already finished") from None

    async def freeze(self, *, frozen: bool) -> None:
        """Keep all processes from running, or let them go on. Raises as the daemon."""
        await self._daemon.call("pause" if frozen else "resume", container=self.entry.container)
        self.entry.save(paused=frozen)
        self.publish("TaskPaused" if frozen else "TaskResumed")

    def check_ended(self) -> None:
        """Raise FailedPrecondition while it runs."""
        if self.own.state == RUNNING:
            raise FailedPrecondition(f"the task {self.entry.id} runs")

    def exit_fields(self) -> dict[str, Any]:
        """Return the end of the container's own process as fields of a message."""
        return exit_fields(self.own)

    def publish(self, name: str, **fields: Any) -> None:
        """Tell containerd of an event."""
        self._containerd.publish(self._namespace, name, container_id=self.entry.id, **fields)

    async def close(self) -> None:
        """Let go of its processes; the container's own goes on."""
        for process in (self.own, *self._execs.values()):
            await process.close()

    def _own_ended(self, exit_: Exit) -> None:
        if exit_.killed_for_memory:
            self.publish("TaskOOM")
        self._tell_exit(self.entry.id, exit_)
        self.entry.save(exit={"status": exit_.status, "at": exit_.at})

    def _tell_exit(self, process_id: str, exit_: Exit) -> None:
        self.publish("TaskExit", id=process_id, pid=self.pid, exit_status=exit_.status, exited_at=time_of(exit_.at))


def exit_fields(process: Running) -> dict[str, Any]:
    """Return the end of a process as fields of a message; one that never ran ends now."""
    exit_ = process.exit or Exit(0, time.time_ns())
    return {"exit_status": exit_.status, "exited_at": time_of(exit_.at)}
