"""The life of one container of a pod: its attempts, and what lies between them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from vmsandbox import aio
from vmsandbox.errors import Cancelled, VmsandboxError
from vmsandbox.model import ContainerState, ContainerStatus
from vmsandbox.pod.api import Container
from vmsandbox.pod.run.console import has_console
from vmsandbox.pod.run.output_lines import Tail, tell_lines
from vmsandbox.pod.run.pod_context import PodContext
from vmsandbox.pod.run.restarts import Backoff, restarts
from vmsandbox.pod.run.running import RunningContainer


class ContainerLife:
    """Runs one container until it is not started again, or is stopped. `task` is its life, and has its last status."""

    def __init__(self, container: Container, context: PodContext) -> None:
        """Begin its life, as a task of its own; the owner awaits or cancels it."""
        self.container = container
        self.started = asyncio.Event()
        """Set when it has been started once: its postStart hook and its startup probe have succeeded."""
        self._context = context
        self._policy = context.plan.restart_policy(container)
        self._backoff = Backoff(context.backoff)
        self._stopping = asyncio.Event()
        self._stop_by = 0.0
        self.task = asyncio.create_task(self._live(), name=f"container {container.name}")

    async def stop(self, deadline: float) -> None:
        """Let it end, by force when the loop's clock shows `deadline`, and start it no more."""
        self._stop_by = deadline
        self._stopping.set()
        with contextlib.suppress(VmsandboxError):  # whoever awaits its task is told
            await asyncio.shield(self.task)

    async def _live(self) -> ContainerStatus:
        attempt = 0
        status: ContainerStatus | None = None
        while True:
            try:
                status = await self._attempt(attempt)
            except Cancelled:  # The pod is being stopped since the last look.
                if status is None:
                    raise
                return status
            if self._stopping.is_set() or not restarts(self._policy, status.exit_code):
                return status
            delay = self._backoff.delay((status.finished_at - status.started_at) / 1e9 if status.started_at else 0)
            self._context.observer.container_restarting(self.container.name, delay)
            if await self._stopped_within(delay):
                return status
            await self._context.runtime.remove_container(status.id)
            attempt += 1

    async def _attempt(self, attempt: int) -> ContainerStatus:
        context, name = self._context, self.container.name
        container_id = await self._create(attempt)
        tail, started = Tail(), asyncio.Event()
        async with self._told(container_id, tail, started) as telling:
            runs = await self._start(container_id)
            started.set()
            if runs:
                running = RunningContainer(self.container, context, container_id, self._stop_deadline)
                await running.run(self.started, self._stopping, telling)
            status = await context.runtime.wait_container(container_id)
            await telling
        if status.exit_code:
            try:
                await context.check_machine()
            except Cancelled:  # Its pod is being stopped by another hand: that is how it ended.
                self._stopping.set()
        status = context.mounts.with_message(self.container, status, tail.text)
        context.observer.container_ended(name, status)
        return status

    @contextlib.asynccontextmanager
    async def _told(self, container_id: str, tail: Tail, started: asyncio.Event) -> AsyncIterator["asyncio.Task[None]"]:
        """The task that passes the container's output on; the console of the pod, where it has one, has the input."""
        context, console = self._context, self._context.console
        if console is None or not has_console(self.container, context.plan.spec):
            async with aio.background(self._tell(container_id, tail)) as telling:
                yield telling
            return
        async with context.runtime.attach(container_id, tty=self.container.tty) as streams:
            talking = console.talk(streams, started)
            if console.terminal:
                async with aio.background(talking) as telling:
                    yield telling
                return
            told = self._tell(container_id, tail)
            async with aio.background(told) as telling, aio.background(talking):
                yield telling

    def _tell(self, container_id: str, tail: Tail) -> Coroutine[Any, Any, None]:
        """Tell what it prints, from this call on. The caller has to read it, or holds the container back."""
        pieces = self._context.runtime.output(container_id)
        return tell_lines(self.container.name, pieces, self._context.observer, tail)

    async def _create(self, attempt: int) -> str:
        try:
            config = await self._context.config(self.container, attempt)
            return await self._context.runtime.create_container(self._context.sandbox_id, config)
        except VmsandboxError:
            await self._context.check_machine()
            raise

    async def _start(self, container_id: str) -> bool:
        """Whether it runs; one whose command cannot be started has ended, with an exit code and the reason."""
        runtime = self._context.runtime
        try:
            await runtime.start_container(container_id)
        except VmsandboxError:
            await self._context.check_machine()
            if (await runtime.container_status(container_id)).state is not ContainerState.EXITED:
                raise
            return False
        self._context.observer.container_started(self.container.name, await runtime.container_status(container_id))
        return True

    async def _stopped_within(self, delay: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()
        return self._stopping.is_set()

    def _stop_deadline(self) -> float:
        return self._stop_by
