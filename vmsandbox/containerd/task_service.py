"""containerd's task service (`containerd.task.v3.Task`): a method for each call."""

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from vmsandbox.containerd.daemon import Daemon
from vmsandbox.containerd.fifos import StreamPaths
from vmsandbox.containerd.messages import TASK, message, packed, types_of
from vmsandbox.containerd.metrics import metrics_from
from vmsandbox.containerd.task import STOPPED, Running, Task, exit_fields
from vmsandbox.containerd.tasks import Tasks
from vmsandbox.errors import InvalidArgument

ServiceCall = Callable[[str, Any], Awaitable[Any]]
"""A call: it gets the namespace of containerd and the request, and returns the answer."""


class TaskServicer:
    """The calls, each with the namespace of containerd and the request."""

    def __init__(self, tasks: Tasks, daemon: Daemon) -> None:
        """Serve the tasks, whose containers are the daemon's."""
        self._tasks = tasks
        self._daemon = daemon
        self.by_name: Mapping[str, ServiceCall] = {
            "State": self.state,
            "Create": self.create,
            "Start": self.start,
            "Delete": self.delete,
            "Pids": self.pids,
            "Pause": self.pause,
            "Resume": self.resume,
            "Kill": self.kill,
            "Exec": self.exec,
            "ResizePty": self.resize_pty,
            "CloseIO": self.close_io,
            "Update": self.update,
            "Wait": self.wait,
            "Stats": self.stats,
            "Connect": self.connect,
            "Shutdown": self.shutdown,
        }

    async def state(self, namespace: str, request: Any) -> Any:
        """Return what is known of a process."""
        task, process = self._process(namespace, request)
        paths = process.paths
        ended = exit_fields(process) if process.exit else {}
        return _answer("State", id=request.id, bundle=task.entry.values["bundle"], pid=task.pid, stdin=paths.stdin,
                       status=task.state(request.exec_id), stdout=paths.stdout, stderr=paths.stderr,
                       terminal=paths.terminal, exec_id=request.exec_id, **ended)  # fmt: skip

    async def create(self, namespace: str, request: Any) -> Any:
        """Make a container."""
        return _answer("Create", pid=(await self._tasks.create(namespace, request)).pid)

    async def start(self, namespace: str, request: Any) -> Any:
        """Let a process run."""
        task = self._find(namespace, request)
        await task.start(request.exec_id)
        return _answer("Start", pid=task.pid)

    async def delete(self, namespace: str, request: Any) -> Any:
        """Forget a process that has ended."""
        task = self._find(namespace, request)
        if request.exec_id:
            return _answer("Delete", pid=task.pid, **exit_fields(await task.delete_exec(request.exec_id)))
        await self._tasks.delete(namespace, request.id)
        return _answer("Delete", pid=task.pid, **task.exit_fields())

    async def pids(self, namespace: str, request: Any) -> Any:
        """Return the process of this host that stands for a container; none of one that has ended."""
        task = self._find(namespace, request)
        has = [] if task.own.state == STOPPED else [message("containerd.v1.types.ProcessInfo", pid=task.pid)]
        return _answer("Pids", processes=has)

    async def pause(self, namespace: str, request: Any) -> Any:
        """Keep all processes of a container from running."""
        await self._find(namespace, request).freeze(frozen=True)
        return _answer("Pause")

    async def resume(self, namespace: str, request: Any) -> Any:
        """Let them go on."""
        await self._find(namespace, request).freeze(frozen=False)
        return _answer("Resume")

    async def kill(self, namespace: str, request: Any) -> Any:
        """Send a signal."""
        await self._find(namespace, request).kill(request.exec_id, request.signal, everyone=request.all)
        return _answer("Kill")

    async def exec(self, namespace: str, request: Any) -> Any:
        """Have another process, which waits for its start."""
        paths = StreamPaths(request.stdin, request.stdout, request.stderr, request.terminal)
        spec = _document(request.spec)
        self._find(namespace, request).exec(request.exec_id, {**spec, "terminal": request.terminal}, paths)
        return _answer("Exec")

    async def resize_pty(self, namespace: str, request: Any) -> Any:
        """Set the window of a process."""
        await self._process(namespace, request)[1].process.resize(request.width, request.height)
        return _answer("ResizePty")

    async def close_io(self, namespace: str, request: Any) -> Any:
        """Let the input of a process end."""
        self._process(namespace, request)[1].process.close_input()
        return _answer("CloseIO")

    async def update(self, namespace: str, request: Any) -> Any:
        """Change the limits of a container."""
        task = self._find(namespace, request)
        await self._daemon.call("update", container=task.entry.container, resources=_document(request.resources))
        return _answer("Update")

    async def wait(self, namespace: str, request: Any) -> Any:
        """Return when a process has ended."""
        _, process = self._process(namespace, request)
        await process.ended.wait()
        return _answer("Wait", **exit_fields(process))

    async def stats(self, namespace: str, request: Any) -> Any:
        """Return what a container uses."""
        return _answer("Stats", stats=packed(await self.metrics_of(self._find(namespace, request))))

    async def metrics_of(self, task: Task) -> Any:
        """Return what a container uses. Raises FailedPrecondition: it does not run."""
        return metrics_from((await self._daemon.call("stats", container=task.entry.container))["stats"])

    async def connect(self, namespace: str, request: Any) -> Any:
        """Return the processes of this host that stand for a container, and serve it."""
        task = self._find(namespace, request)
        return _answer("Connect", shim_pid=os.getpid(), task_pid=task.pid)

    async def shutdown(self, namespace: str, request: Any) -> Any:
        """Go on: containerd asks the process of a task to end after the task, and others are served here."""
        return _answer("Shutdown")

    def _find(self, namespace: str, request: Any) -> Task:
        return self._tasks.find(namespace, request.id)

    def _process(self, namespace: str, request: Any) -> tuple[Task, Running]:
        task = self._find(namespace, request)
        return task, task.process(request.exec_id)


def _document(packed_: Any) -> dict[str, Any]:
    """Return a document of the runtime-spec, which containerd packs as JSON. Raises InvalidArgument."""
    try:
        found = json.loads(packed_.value)
    except ValueError as error:
        raise InvalidArgument(f"{packed_.type_url} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidArgument(f"{packed_.type_url} is not a JSON object")
    return found


def _answer(call: str, **fields: Any) -> Any:
    return types_of(TASK, call)[1](**fields)
