"""A container while it runs: hooks, probes, and its end by another's will."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from vmsandbox import aio
from vmsandbox.errors import VmsandboxError
from vmsandbox.model import ContainerStatus
from vmsandbox.pod.api import Container, LifecycleHandler, Probe
from vmsandbox.pod.run import actions
from vmsandbox.pod.run.actions import ProbeFailure, until_dead, until_started
from vmsandbox.pod.run.pod_context import PodContext

_LEAST_GRACE = 2.0
"""Seconds that a container has to end after its preStop hook, however long that took, as in the kubelet."""
_HTTP_HOOK = 30.0
"""Seconds that a postStart hook waits for the answer to its HTTP request."""

_Begin = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class RunningContainer:
    """One attempt of a container, from its start on."""

    def __init__(
        self, container: Container, context: PodContext, container_id: str, stop_deadline: Callable[[], float]
    ) -> None:
        """Nothing is done before `run`.

        Args:
            container: what it is.
            context: the sandbox that it runs in.
            container_id: its id there.
            stop_deadline: when it has to have ended, by the loop's clock, once it is being stopped.
        """
        self._container = container
        self._context = context
        self._id = container_id
        self._stop_deadline = stop_deadline

    async def run(self, started: asyncio.Event, stopping: asyncio.Event, telling: "asyncio.Task[None]") -> None:
        """Until it has ended: by itself, because it is being stopped, or because a hook or a probe has failed.

        Args:
            started: is set when the container has started, hook and probe included.
            stopping: is set when it has to end.
            telling: passes its output on; when that fails, so does this.
        """
        async with _all_cancelled() as begin:
            ended = begin(self._context.runtime.wait_container(self._id))
            stopped = begin(stopping.wait())
            watched = begin(self._watch(started))
            events: set[asyncio.Task[Any]] = {ended, stopped, watched, telling}
            while not (ended.done() or stopped.done() or watched.done()):
                await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
                if telling.done():
                    telling.result()
                    events.discard(telling)
            if ended.done():
                return
            deadline = self._stop_deadline() if stopped.done() else self._given_up(watched.result())
            await self._stop(deadline, begin, ended)

    async def _watch(self, started: asyncio.Event) -> ProbeFailure | None:
        """Run the postStart hook, then the probes. Return why the container has to end; None if the hook failed."""
        container = self._container
        if container.lifecycle.post_start and not await self._post_start(container.lifecycle.post_start):
            return None
        if container.startup_probe and (failure := await until_started(container.startup_probe, self._check)):
            return failure
        started.set()
        if container.liveness_probe:
            return await until_dead(container.liveness_probe, self._check)
        nothing_more: asyncio.Future[ProbeFailure | None] = asyncio.get_running_loop().create_future()
        return await nothing_more

    async def _post_start(self, hook: LifecycleHandler) -> bool:
        try:
            await self._hook(hook, 0)
        except VmsandboxError as error:
            self._warn(f"postStart hook failed, the container is ended: {error}")
            return False
        return True

    def _given_up(self, failure: ProbeFailure | None) -> float:
        """Tell why the container is ended, and until when it may take."""
        grace: float = self._context.plan.spec.termination_grace_period_seconds
        if failure is not None:
            self._warn(f"{failure.message}; the container is ended")
            own = failure.probe.termination_grace_period_seconds
            grace = grace if own is None else own
        return asyncio.get_running_loop().time() + grace

    async def _stop(self, deadline: float, begin: _Begin, ended: "asyncio.Task[ContainerStatus]") -> None:
        """Run the preStop hook and let it end, by force at the deadline."""
        hook, grace = self._container.lifecycle.pre_stop, self._remaining(deadline)
        if hook and grace > 0:
            await self._pre_stop(begin(self._hook(hook, grace)), ended)
            grace = max(self._remaining(deadline), _LEAST_GRACE)
        await self._context.runtime.stop_container(self._id, grace)

    async def _pre_stop(self, hook: "asyncio.Task[None]", ended: "asyncio.Task[ContainerStatus]") -> None:
        await asyncio.wait({hook, ended}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if hook.done():
                hook.result()
        except VmsandboxError as error:
            self._warn(f"preStop hook failed: {error}")

    async def _hook(self, hook: LifecycleHandler, timeout: float) -> None:
        if hook.exec:
            await actions.run_command(self._context.runtime, self._id, hook.exec, timeout)
        elif hook.http_get:
            await actions.get(self._context.address, hook.http_get, self._container, timeout or _HTTP_HOOK)
        elif hook.sleep:
            await asyncio.sleep(min(hook.sleep.seconds, timeout or hook.sleep.seconds))

    async def _check(self, probe: Probe) -> None:
        if probe.exec:
            await actions.run_command(self._context.runtime, self._id, probe.exec, probe.timeout_seconds)
        elif probe.http_get:
            await actions.get(self._context.address, probe.http_get, self._container, probe.timeout_seconds)
        elif probe.tcp_socket:
            await actions.connect(self._context.address, probe.tcp_socket, self._container, probe.timeout_seconds)

    def _warn(self, message: str) -> None:
        self._context.observer.warning(f"container {self._container.name}: {message}")

    @staticmethod
    def _remaining(deadline: float) -> float:
        return max(deadline - asyncio.get_running_loop().time(), 0)


@contextlib.asynccontextmanager
async def _all_cancelled() -> AsyncIterator[_Begin]:
    """Begins tasks, which are cancelled at the end."""
    tasks: list[asyncio.Task[Any]] = []

    def begin(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        tasks.append(asyncio.create_task(work))
        return tasks[-1]

    try:
        yield begin
    finally:
        await aio.cancel(*tasks)
