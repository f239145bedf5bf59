"""The life of a pod whose sandbox runs: init containers in order, then containers together, then sidecars' ends."""

import asyncio
import contextlib
import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from vmsandbox import aio
from vmsandbox.errors import Cancelled, Unavailable, VmsandboxError
from vmsandbox.model import ContainerStatus
from vmsandbox.pod.api import Container, EmptyDir, Medium
from vmsandbox.pod.run.container_life import ContainerLife
from vmsandbox.pod.run.pod_context import PodContext
from vmsandbox.pod.run.volumes import PodVolumes
from vmsandbox.process import run

EXIT_DEADLINE = 124
"""Exit code of a pod whose activeDeadlineSeconds have passed, as in timeout(1)."""

EXIT_STOPPED = 143
"""Exit code of a pod that somebody else has stopped: that of a process that was asked to end (SIGTERM)."""

EXIT_EVICTED = 137
"""Exit code of a pod that used more of a volume than it may: that of a process that was killed."""


class PodPhase(enum.Enum):
    """PodPhase of a pod that has ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class PodResult:
    """How a pod ended."""

    phase: PodPhase
    exit_code: int
    """0, or that of the container that failed first."""
    reason: str = ""
    """DeadlineExceeded, Evicted, Stopped (by another hand than the runner's), or empty."""
    containers: dict[str, ContainerStatus] = field(default_factory=dict)
    """The last status of every container that was started, by name."""


_STOPPED = PodResult(PodPhase.FAILED, EXIT_STOPPED, "Stopped")


class PodLife:
    """Runs the containers of one pod, once."""

    def __init__(self, context: PodContext) -> None:
        """Nothing runs before `run`."""
        self._context = context
        self._spec = context.plan.spec
        self._lives: list[ContainerLife] = []
        self._is_stopping = False

    async def run(self) -> PodResult:
        """Until the pod's containers have ended.

        When it is cancelled, or the pod's deadline passes, containers are asked to end, and get the grace period for
        it; when it is cancelled while they are ending, it ends at once, and leaves them to whoever owns the sandbox.

        Raises:
            VmsandboxError: a container cannot be made, or the machine is gone.
        """
        try:
            result = await self._run_limited()
            await self._stop("")
            return replace(result, containers=self._statuses())
        except asyncio.CancelledError:
            if not self._is_stopping:
                await self._stop("cancelled")
            raise
        finally:
            await aio.cancel(*(life.task for life in self._lives))

    async def _run_limited(self) -> PodResult:
        """The result of the containers, or of the limit that the pod reached before they ended."""
        work = asyncio.create_task(self._run())
        overflow = asyncio.create_task(overflown(self._context.mounts.volumes))
        stopped = asyncio.create_task(_stopped(self._context))
        limit = self._spec.active_deadline_seconds
        try:
            await asyncio.wait({work, overflow, stopped}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return await self._unless_stopped(work)
        finally:
            await aio.cancel(work, overflow, stopped)
        if not stopped.cancelled():
            await self._stop(stopped.result())
            return _STOPPED
        if not overflow.cancelled():
            await self._stop(overflow.result())
            return PodResult(PodPhase.FAILED, EXIT_EVICTED, "Evicted")
        await self._stop(f"the pod was active for {limit} s, the limit of activeDeadlineSeconds")
        return PodResult(PodPhase.FAILED, EXIT_DEADLINE, "DeadlineExceeded")

    async def _unless_stopped(self, work: "asyncio.Task[PodResult]") -> PodResult:
        """The result of containers that have ended; `_STOPPED` if that is because somebody has stopped the pod.

        Work can fail then with whatever it was doing while the machine ended, such as a lost connection to the agent.
        """
        try:
            with contextlib.suppress(Unavailable):  # The machine has died since, or the daemon is being restarted.
                await self._context.check_machine()
            return work.result()
        except Cancelled:
            return _STOPPED

    async def _run(self) -> PodResult:
        for container in self._spec.init_containers:
            life = self._begin(container)
            if container.sidecar:
                await self._until(asyncio.create_task(life.started.wait()))
                continue
            await self._until(life.task)
            if life.task.result().exit_code:
                return self._result([life])
        lives = [self._begin(container) for container in self._spec.containers]
        for life in lives:
            await self._until(life.task)
        return self._result(lives)

    def _begin(self, container: Container) -> ContainerLife:
        life = ContainerLife(container, self._context)
        self._lives.append(life)
        return life

    async def _until(self, awaited: "asyncio.Task[ContainerStatus] | asyncio.Task[bool]") -> None:
        """Wait for one thing; the failure of any container's life is everyone's."""
        try:
            while not awaited.done():
                running = {life.task for life in self._lives if not life.task.done()}
                await asyncio.wait({awaited, *running}, return_when=asyncio.FIRST_COMPLETED)
                for life in self._lives:
                    if life.task.done():
                        life.task.result()
        finally:
            if awaited not in {life.task for life in self._lives}:
                awaited.cancel()

    async def _stop(self, reason: str) -> None:
        """Let all end, sidecars after the others and in reverse; together they have the grace period."""
        self._is_stopping = True
        running = [life for life in self._lives if not life.task.done()]
        if running and reason:
            self._context.observer.stopping(reason)
        deadline = asyncio.get_running_loop().time() + self._spec.termination_grace_period_seconds
        await asyncio.gather(*(life.stop(deadline) for life in running if not life.container.sidecar))
        for life in reversed(running):
            if life.container.sidecar:
                await life.stop(deadline)

    def _result(self, lives: Iterable[ContainerLife]) -> PodResult:
        statuses = [life.task.result() for life in lives]
        failed = sorted((status for status in statuses if status.exit_code), key=lambda status: status.finished_at)
        if failed:
            return PodResult(PodPhase.FAILED, failed[0].exit_code)
        return PodResult(PodPhase.SUCCEEDED, 0)

    def _statuses(self) -> dict[str, ContainerStatus]:
        ended = (life for life in self._lives if life.task.done() and not life.task.exception())
        return {life.container.name: life.task.result() for life in ended}


LOOK_INTERVAL = 2.0
"""Seconds between two looks whether somebody has stopped the pod."""


async def _stopped(context: PodContext) -> str:
    """Wait until somebody has stopped or removed the pod, and say so; for ever, where nobody does."""
    while True:
        await asyncio.sleep(LOOK_INTERVAL)
        try:
            await context.check_machine()
        except Cancelled as error:
            return str(error)
        except VmsandboxError:  # The machine has died, which its containers tell; or the daemon is being restarted.
            continue


INTERVAL = 10.0
"""Seconds between two looks, the kubelet's housekeeping interval."""
_LOOK = 300.0


async def overflown(volumes: PodVolumes) -> str:
    """Wait until a volume holds more than its limit, and say which; for ever, where none has one."""
    limits = {
        name: volume.limit
        for name, volume in volumes.plan.volumes.items()
        if isinstance(volume, EmptyDir) and volume.medium is Medium.DEFAULT and volume.limit
    }
    while True:
        await asyncio.sleep(INTERVAL)
        for name, limit in limits.items():
            if await _used(volumes, name) > limit:
                return f"emptyDir volume {name} holds more than its limit of {limit} bytes"


async def _used(volumes: PodVolumes, name: str) -> int:
    """Bytes of disk; du(1) follows no link, and goes down as deep as a guest may have gone."""
    command = ["du", "--summarize", "--block-size=1", "--one-file-system", "--", str(volumes.path(name))]
    said = await run(command, timeout=_LOOK, check=False)  # files come and go meanwhile, which du takes for an error
    return int(said.stdout.split()[0]) if said.stdout else 0
