"""containerd as a server: our events are forwarded to it, and it is asked what it knows of tasks."""

import asyncio
import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import grpc.aio

from vmsandbox import log
from vmsandbox.containerd.messages import EMPTY, class_of, message, packed, time_of
from vmsandbox.errors import Unavailable

_log = log.get(__name__)

_TOPICS = {
    "TaskCreate": "create",
    "TaskStart": "start",
    "TaskOOM": "oom",
    "TaskExit": "exit",
    "TaskDelete": "delete",
    "TaskExecAdded": "exec-added",
    "TaskExecStarted": "exec-started",
    "TaskPaused": "paused",
    "TaskResumed": "resumed",
}
_CONTAINERS = "containerd.services.containers.v1"
_CRI_EXTENSION = "io.cri-containerd.container.metadata"
"""The key of the CRI's own record of a container, in containerd's."""
_TARGET = 3
"""The CRI's NamespaceMode TARGET."""

_KEPT = 4096
"""Events that wait for a containerd which is away; then the oldest are dropped."""
_PAUSE = 1.0
"""Seconds between two attempts to reach it."""
_DEADLINE = 10.0


class Containerd:
    """containerd's socket."""

    def __init__(self, path: Path) -> None:
        """Nothing is connected before `forward` runs."""
        self._path = path
        self._events: deque[tuple[str, Any]] = deque(maxlen=_KEPT)
        self._waits = asyncio.Event()

    def publish(self, namespace: str, name: str, **fields: Any) -> None:
        """Have an event of a task forwarded, in order."""
        event = packed(message(f"containerd.events.{name}", **fields))
        envelope = message(
            "containerd.types.Envelope",
            timestamp=time_of(time.time_ns()),
            namespace=namespace,
            topic=f"/tasks/{_TOPICS[name]}",
            event=event,
        )
        self._events.append((namespace, message("containerd.services.events.v1.ForwardRequest", envelope=envelope)))
        self._waits.set()

    async def forward(self) -> None:
        """Forward events for ever; what containerd does not take while it is away, it is given afterwards."""
        while True:
            await self._waits.wait()
            while self._events:
                namespace, request = self._events[0]
                try:
                    await self._ask("containerd.services.events.v1.Events/Forward", EMPTY, namespace, request)
                except grpc.aio.AioRpcError as error:
                    if _is_away(error):
                        await asyncio.sleep(_PAUSE)
                        continue
                    _log.warning("containerd refuses an event: %s", error.details())
                if self._events and self._events[0][1] is request:
                    self._events.popleft()
            self._waits.clear()

    async def knows_task(self, namespace: str, container: str) -> bool:
        """Whether containerd has a task; waits for a containerd that is away."""
        request = message("containerd.services.tasks.v1.GetRequest", container_id=container)
        return await self._has("containerd.services.tasks.v1.Tasks/Get", namespace, request)

    async def knows_sandbox(self, namespace: str, sandbox: str) -> bool:
        """Whether containerd has a sandbox; waits for a containerd that is away."""
        request = message("containerd.services.sandbox.v1.Named", sandbox_id=sandbox)
        return await self._has("containerd.services.sandbox.v1.Store/Get", namespace, request)

    async def target_of(self, namespace: str, container: str) -> str:
        """Return the container whose processes another one of the CRI is to see (`target_id`); empty: it has none.

        Raises:
            Unavailable: containerd does not tell.
        """
        request = message(f"{_CONTAINERS}.GetContainerRequest", id=container)
        try:
            answer = await self._ask(
                f"{_CONTAINERS}.Containers/Get", f"{_CONTAINERS}.GetContainerResponse", namespace, request
            )
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"containerd does not tell of container {container}: {error.details()}") from None
        every = {each.key: each.value.value for each in answer.container.extensions}
        return target_in(every.get(_CRI_EXTENSION, b"{}"))

    async def _has(self, call: str, namespace: str, request: Any) -> bool:
        while True:
            try:
                await self._ask(call, EMPTY, namespace, request)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return False
                if not _is_away(error):
                    _log.warning("containerd does not answer %s: %s", call, error.details())
                    return True
                await asyncio.sleep(_PAUSE)
            else:
                return True

    async def _ask(self, call: str, answer: str, namespace: str, request: Any) -> Any:
        async with grpc.aio.insecure_channel(f"unix:{self._path}") as channel:
            method = channel.unary_unary(
                f"/{call}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=class_of(answer).FromString,
            )
            return await method(request, timeout=_DEADLINE, metadata=(("containerd-namespace", namespace),))


def target_in(metadata: bytes) -> str:
    """Return the target of a container's processes in what the CRI keeps of it; empty: it has none."""
    found: Any = json.loads(metadata)
    for key in ("Metadata", "Config", "linux", "security_context", "namespace_options"):
        found = (found or {}).get(key)
    return str(found.get("target_id", "")) if found and found.get("pid") == _TARGET else ""


def _is_away(error: grpc.aio.AioRpcError) -> bool:
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
