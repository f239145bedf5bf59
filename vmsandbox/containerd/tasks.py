"""The tasks: containers of pods, made, taken back after a restart of this process, and deleted.

What is kept of one is a directory with a file (`oci_command.store`), which is written before and after each thing that
is made; what a process that was killed has left is undone, or gone on with.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

from vmsandbox import aio, log
from vmsandbox.containerd.daemon import Daemon
from vmsandbox.containerd.events import Containerd
from vmsandbox.containerd.fifos import StreamPaths
from vmsandbox.containerd.kept import claim, every_entry
from vmsandbox.containerd.leftovers import Leftovers
from vmsandbox.containerd.roots import mount_root, unmount_root
from vmsandbox.containerd.sandboxes import Sandboxes
from vmsandbox.containerd.specs import container_config
from vmsandbox.containerd.task import Task
from vmsandbox.errors import InvalidArgument, NotFound, VmsandboxError
from vmsandbox.oci_command.store import Entry

_log = log.get(__name__)

_ROOT = "root"


class Tasks:
    """The tasks of all namespaces of containerd."""

    def __init__(self, directory: Path, daemon: Daemon, containerd: Containerd, sandboxes: Sandboxes) -> None:
        """Know none yet.

        Args:
            directory: where they are kept, a directory below it for each namespace.
            daemon: has their containers.
            containerd: is told what becomes of them.
            sandboxes: the pods that they are in.
        """
        self._directory = directory
        self._daemon = daemon
        self._containerd = containerd
        self._sandboxes = sandboxes
        self._tasks: dict[tuple[str, str], Task] = {}
        self.leftovers = Leftovers("task", self._end_unknown)
        """Tasks of an earlier process, until containerd has said that it knows them."""

    def find(self, namespace: str, container: str) -> Task:
        """Return a task. Raises NotFound."""
        try:
            return self._tasks[namespace, container]
        except KeyError:
            raise NotFound(f"there is no task {container}") from None

    def of(self, namespace: str, sandbox: str) -> Iterator[Task]:
        """Yield the tasks of a pod."""
        for (has, _), task in list(self._tasks.items()):
            if has == namespace and task.sandbox == sandbox:
                yield task

    async def create(self, namespace: str, request: Any) -> Task:
        """Make the container of a request, which waits for `Task.start`. On failure nothing is left.

        Raises:
            InvalidArgument, AlreadyExists: as `claim`.
            VmsandboxError: as the daemon says.
        """
        if request.checkpoint:
            raise InvalidArgument("a machine has no checkpoints")
        entry = claim(self._directory, namespace, request.id)
        try:
            entry.save(id=request.id, container="")
            paths = StreamPaths(request.stdin, request.stdout, request.stderr, request.terminal)
            sandbox = _sandbox_of(Path(request.bundle))
            entry.save(bundle=request.bundle, sandbox=sandbox, streams=astuple(paths))
            root = Path(entry.directory) / _ROOT
            await mount_root(request.rootfs, root)
            pod = self._sandboxes.find(namespace, sandbox)
            config = container_config(_read(Path(request.bundle)), sandbox, pod.network, str(root), pod.files)
            target = await self._containerd.target_of(namespace, request.id)
            processes = self.find(namespace, target).entry.container if target else ""
            answer = await self._daemon.call(
                "create", id=request.id, root=pod.root, bundle=request.bundle, config=config, processes_of=processes
            )
            entry.save(container=answer["container"])
            task = self._task(namespace, entry)
            await task.begin()
        except BaseException:
            await aio.to_its_end(self._undo(entry))
            raise
        self._tasks[namespace, request.id] = task
        task.publish("TaskCreate", bundle=request.bundle, rootfs=request.rootfs, pid=task.pid)
        return task

    async def delete(self, namespace: str, container: str) -> Task:
        """Forget a task that has ended, or was not started. Raises NotFound, FailedPrecondition, as the daemon."""
        task = self.find(namespace, container)
        task.check_ended()
        await self._remove(namespace, task)
        task.publish("TaskDelete", pid=task.pid, **task.exit_fields())
        return task

    async def take_back(self) -> None:
        """Know the tasks of an earlier process; undo those that it was making."""
        for namespace, entry in every_entry(self._directory):
            if entry.container:
                self._tasks[namespace, entry.id] = task = self._task(namespace, entry)
                self.leftovers.add(namespace, entry.id)
                await task.begin(again=True)
            else:
                await self._undo(entry)

    async def close(self) -> None:
        """Let go of all; they go on."""
        await aio.together(*(task.close() for task in self._tasks.values()))

    async def _end_unknown(self, namespace: str, container: str) -> None:
        if (task := self._tasks.get((namespace, container))) is None:
            return
        if not await self._containerd.knows_task(namespace, container):
            _log.warning("containerd does not know the task %s any more: it is ended", container)
            await self._remove(namespace, task)

    async def _remove(self, namespace: str, task: Task) -> None:
        await self._daemon.call("delete", container=task.entry.container)
        await task.close()
        await self._clear(task.entry)
        self._tasks.pop((namespace, task.entry.id), None)

    async def _undo(self, entry: Entry) -> None:
        """Remove what a `create` that failed has made; its own error is the one to tell."""
        with contextlib.suppress(VmsandboxError):
            if entry.container:
                await self._daemon.call("delete", container=entry.container)
        with contextlib.suppress(VmsandboxError, OSError):
            await self._clear(entry)

    async def _clear(self, entry: Entry) -> None:
        await unmount_root(Path(entry.directory) / _ROOT)
        entry.remove()

    def _task(self, namespace: str, entry: Entry) -> Task:
        return Task(namespace, entry, self._daemon, self._containerd)


def _sandbox_of(bundle: Path) -> str:
    """Return the id of the pod of a container, which containerd leaves in its bundle. Raises InvalidArgument."""
    try:
        return (bundle / "sandbox").read_text().strip()
    except OSError:
        raise InvalidArgument(f"{bundle} names no sandbox: only containers of pods are run here") from None


def _read(bundle: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((bundle / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{bundle}/config.json cannot be read: {error}") from None
    return config
