"""The life of one container of a pod: its attempts, and what lies between them."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vmsandbox.errors import Unavailable, VmsandboxError
from vmsandbox.model import ContainerConfig, ContainerState, ContainerStatus, Mount, SandboxState
from vmsandbox.pod.api.container import Container, LifecycleHandler
from vmsandbox.pod.environment import environment
from vmsandbox.pod.lines import tell_lines
from vmsandbox.pod.observer import PodObserver
from vmsandbox.pod.plan import PodPlan
from vmsandbox.pod.restarts import Backoff, BackoffSettings, restarts
from vmsandbox.pod.runtime import PodRuntime
from vmsandbox.pod.subject import Subject
from vmsandbox.pod.volumes import PodVolumes


@dataclass(frozen=True, slots=True)
class Sandboxed:
    """What the containers of a running sandbox have in common."""

    plan: PodPlan
    subject: Subject
    runtime: PodRuntime
    observer: PodObserver
    volumes: PodVolumes
    images: Mapping[str, str]
    """Ids of images, by the names that the pod has for them."""
    hosts: Mount | None
    sandbox_id: str
    backoff: BackoffSettings

    async def check_machine(self) -> None:
        """Raise Unavailable, with the report of its death, when the machine is gone."""
        status = await self.runtime.pod_sandbox_status(self.sandbox_id)
        if status.state is not SandboxState.READY:
            raise Unavailable(
                f"the machine of pod {self.plan.name} is gone", evidence={"what was seen": status.message or "nothing"}
            )

    def config(self, container: Container, attempt: int) -> ContainerConfig:
        """CRI ContainerConfig of an attempt; opens the sub-paths of its mounts anew."""
        mounts = self.volumes.mounts(container, environment(self.subject, container), self.images)
        taken = {mount.container_path for mount in mounts}
        if self.hosts is not None and self.hosts.container_path not in taken:
            mounts = (*mounts, self.hosts)
        config = self.plan.container(container, self.subject, mounts, attempt)
        return replace(config, image=self.images[container.image], user_specified_image=container.image)


class ContainerLife:
    """Runs one container until it is not started again, or is stopped. `task` is its life, and has its last status."""

    def __init__(self, container: Container, around: Sandboxed) -> None:
        """Begin its life, as a task of its own; the owner awaits or cancels it."""
        self.container = container
        self.started = asyncio.Event()
        """Set when it has been started once, and its postStart hook has ended."""
        self._around = around
        self._policy = around.plan.restart_policy(container)
        self._backoff = Backoff(around.backoff)
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
        while True:
            status = await self._attempt(attempt)
            if self._stopping.is_set() or not restarts(self._policy, status.exit_code):
                return status
            delay = self._backoff.delay((status.finished_at - status.started_at) / 1e9 if status.started_at else 0)
            self._around.observer.container_restarting(self.container.name, delay)
            if await self._stopped_within(delay):
                return status
            await self._around.runtime.remove_container(status.id)
            attempt += 1

    async def _attempt(self, attempt: int) -> ContainerStatus:
        runtime, observer = self._around.runtime, self._around.observer
        container_id = await self._create(attempt)
        pieces = runtime.output(container_id)
        telling = asyncio.create_task(tell_lines(self.container.name, pieces, observer))
        try:
            if await self._start(container_id):
                await self._run(container_id)
            status = await runtime.wait_container(container_id)
            await telling
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        if status.exit_code:
            await self._around.check_machine()
        observer.container_ended(self.container.name, status)
        return status

    async def _create(self, attempt: int) -> str:
        try:
            config = self._around.config(self.container, attempt)
            return await self._around.runtime.create_container(self._around.sandbox_id, config)
        except VmsandboxError:
            await self._around.check_machine()
            raise

    async def _start(self, container_id: str) -> bool:
        """Whether it runs; one whose command cannot be started has ended, with an exit code and the reason."""
        runtime = self._around.runtime
        try:
            await runtime.start_container(container_id)
        except VmsandboxError:
            await self._around.check_machine()
            if (await runtime.container_status(container_id)).state is not ContainerState.EXITED:
                raise
            return False
        self._around.observer.container_started(self.container.name, await runtime.container_status(container_id))
        return True

    async def _run(self, container_id: str) -> None:
        """Until it has ended, by itself or because it is stopped."""
        runtime = self._around.runtime
        ended = asyncio.create_task(runtime.wait_container(container_id))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            if hook := self.container.lifecycle.post_start:
                await self._post_start(container_id, hook)
            self.started.set()
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._stop(container_id)
        finally:
            for task in (ended, stopping):
                task.cancel()
            await asyncio.gather(ended, stopping, return_exceptions=True)

    async def _post_start(self, container_id: str, hook: LifecycleHandler) -> None:
        """A postStart hook that fails ends its container, as in Kubernetes."""
        try:
            await self._hook(container_id, hook, 0)
        except VmsandboxError as error:
            self._around.observer.warning(f"container {self.container.name}: postStart: {error}")
            await self._around.runtime.stop_container(container_id, self._grace())

    async def _stop(self, container_id: str) -> None:
        if hook := self.container.lifecycle.pre_stop:
            try:
                await self._hook(container_id, hook, max(self._remaining(), 0.1))
            except VmsandboxError as error:
                self._around.observer.warning(f"container {self.container.name}: preStop: {error}")
        await self._around.runtime.stop_container(container_id, max(self._remaining(), 0))

    async def _hook(self, container_id: str, hook: LifecycleHandler, timeout: float) -> None:
        if hook.sleep:
            await asyncio.sleep(min(hook.sleep.seconds, timeout or hook.sleep.seconds))
        if hook.exec:
            result = await self._around.runtime.exec_sync(container_id, hook.exec.command, timeout)
            if result.exit_code:
                said = (result.stderr or result.stdout).decode(errors="replace").strip()[-500:]
                raise Unavailable(f"the command ended with status {result.exit_code}: {said}")

    async def _stopped_within(self, delay: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()
        return self._stopping.is_set()

    def _grace(self) -> float:
        return self._around.plan.spec.termination_grace_period_seconds

    def _remaining(self) -> float:
        return self._stop_by - asyncio.get_running_loop().time()
