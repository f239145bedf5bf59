"""containerd's sandbox controller (`containerd.services.sandbox.v1.Controller`): a method for each call."""

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmsandbox.containerd.messages import CONTROLLER, message, packed, time_of, types_of
from vmsandbox.containerd.metrics import summed
from vmsandbox.containerd.sandboxes import Sandbox, Sandboxes
from vmsandbox.containerd.task_service import ServiceCall, TaskServicer
from vmsandbox.containerd.tasks import Tasks
from vmsandbox.errors import FailedPrecondition, NotFound, Unavailable

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_VERSION = 3
"""The version of the task service that the address leads to."""


class ControllerServicer:
    """The calls, each with the namespace of containerd and the request."""

    def __init__(self, sandboxes: Sandboxes, tasks: Tasks, servicer: TaskServicer, socket: Path) -> None:
        """Serve the sandboxes; `socket` is where the tasks in them are served."""
        self._sandboxes = sandboxes
        self._tasks = tasks
        self._servicer = servicer
        self._address = f"grpc+{socket}"
        self.by_name: Mapping[str, ServiceCall] = {
            "Create": self.create,
            "Start": self.start,
            "Platform": self.platform,
            "Stop": self.stop,
            "Wait": self.wait,
            "Status": self.status,
            "Shutdown": self.shutdown,
            "Metrics": self.metrics,
            "Update": self.update,
        }

    async def create(self, namespace: str, request: Any) -> Any:
        """Know a sandbox."""
        return _answer("Create", sandbox_id=self._sandboxes.create(namespace, request).entry.id)

    async def start(self, namespace: str, request: Any) -> Any:
        """Make the machine of a sandbox; a sandbox whose machine cannot be made is forgotten."""
        sandbox = self._find(namespace, request)
        try:
            await sandbox.start()
        except BaseException:
            await self._sandboxes.discard(namespace, request.sandbox_id)
            raise
        return _answer("Start", **self._about(sandbox))

    async def platform(self, namespace: str, request: Any) -> Any:
        """Return what images are to be for."""
        self._find(namespace, request)
        machine = platform.machine()
        has = message("containerd.types.Platform", os="linux", architecture=_ARCHITECTURES.get(machine, machine))
        return _answer("Platform", platform=has)

    async def stop(self, namespace: str, request: Any) -> Any:
        """End the machine."""
        await self._find(namespace, request).stop()
        return _answer("Stop")

    async def wait(self, namespace: str, request: Any) -> Any:
        """Return when the machine has ended."""
        sandbox = self._find(namespace, request)
        await sandbox.ended.wait()
        return _answer("Wait", exit_status=0, exited_at=time_of(sandbox.ended_at))

    async def status(self, namespace: str, request: Any) -> Any:
        """Return what is known, in the words of the CRI."""
        sandbox = self._find(namespace, request)
        ready = sandbox.created_at and not sandbox.ended_at
        ended = {"exited_at": time_of(sandbox.ended_at)} if sandbox.ended_at else {}
        state = "SANDBOX_READY" if ready else "SANDBOX_NOTREADY"
        return _answer("Status", state=state, **self._about(sandbox), **ended)

    async def shutdown(self, namespace: str, request: Any) -> Any:
        """Forget a sandbox."""
        self._find(namespace, request)
        await self._sandboxes.remove(namespace, request.sandbox_id)
        return _answer("Shutdown")

    async def metrics(self, namespace: str, request: Any) -> Any:
        """Return what the containers of a sandbox use together. Raises Unavailable where none answers."""
        self._find(namespace, request)
        every, silent = [], None
        for task in self._tasks.of(namespace, request.sandbox_id):
            try:
                every.append(await self._servicer.metrics_of(task))
            except (FailedPrecondition, NotFound):  # It does not run.
                continue
            except Unavailable as error:
                silent = error
        if silent is not None and not every:
            raise silent
        now = time_of(time.time_ns())
        metric = message("containerd.types.Metric", timestamp=now, id=request.sandbox_id, data=packed(summed(every)))
        return _answer("Metrics", metrics=metric)

    async def update(self, namespace: str, request: Any) -> Any:
        """Take a change of what containerd keeps of a sandbox; the limits of its containers come with their tasks."""
        self._find(namespace, request)
        return _answer("Update")

    def _find(self, namespace: str, request: Any) -> Sandbox:
        return self._sandboxes.find(namespace, request.sandbox_id)

    def _about(self, sandbox: Sandbox) -> dict[str, Any]:
        return {
            "sandbox_id": sandbox.entry.id,
            "pid": os.getpid(),
            "created_at": time_of(sandbox.created_at),
            "address": self._address,
            "version": _VERSION,
        }


def _answer(call: str, **fields: Any) -> Any:
    return types_of(CONTROLLER, call)[1](**fields)
