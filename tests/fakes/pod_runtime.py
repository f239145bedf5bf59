"""A `PodRuntime` in memory, whose containers do what a test has written for them."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from vmsandbox.errors import FailedPrecondition, NotFound, VmsandboxError
from vmsandbox.images.store.progress import PullPhase, PullProgress, Report
from vmsandbox.model import (
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    ExecResult,
    Image,
    ImageConfig,
    Output,
    PodSandboxConfig,
    RegistryAuth,
    SandboxState,
    SandboxStatus,
)
from vmsandbox.pod.run import ContainerStreams, PodRuntime
from vmsandbox.protocol.messages import Stream


@dataclass(frozen=True)
class Script:
    """One attempt of a container."""

    output: tuple[tuple[Stream, bytes], ...] = ()
    exit_code: int = 0
    reason: str = ""
    runs: float | None = 0
    """Seconds until it ends by itself; None: until it is stopped."""
    start_error: VmsandboxError | None = None
    on_stop: int | None = 143
    """Exit code when it is asked to end; None: it has to be killed."""


FOREVER = Script(runs=None)


@dataclass
class FakeContainer:
    status: ContainerStatus
    script: Script
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    pieces: "asyncio.Queue[Output | None]" = field(default_factory=asyncio.Queue)
    asked: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class FakeStreams(ContainerStreams):
    """The streams of a container: what is typed goes to a list, when it runs."""

    container: FakeContainer
    typed: list[bytes]

    async def output(self) -> AsyncIterator[Output]:
        while (piece := await self.container.pieces.get()) is not None:
            yield piece

    async def write(self, data: bytes) -> None:
        assert self.container.status.state is ContainerState.RUNNING
        self.typed.append(data)

    async def close_stdin(self) -> None:
        self.typed.append(b"<end>")

    async def resize(self, columns: int, rows: int) -> None:
        self.typed.append(f"<{columns}x{rows}>".encode())


class FakePodRuntime(PodRuntime):
    """Containers run as `scripts` say, by name and attempt; the last script of a name serves all further attempts."""

    guest_tmpfs = True

    def __init__(self) -> None:
        self.scripts: dict[str, list[Script]] = {}
        self.images: dict[str, Image] = {}
        self.in_registry: dict[str, Image] = {}
        self.auths: dict[str, RegistryAuth | None] = {}
        self.calls: list[str] = []
        """The calls in order: `start web`, `stop web 30`."""
        self.sandboxes: dict[str, SandboxStatus] = {}
        self.containers: dict[str, FakeContainer] = {}
        self.configs: list[ContainerConfig] = []
        self.typed: list[bytes] = []
        """The input of attached containers."""
        self.execs: dict[tuple[str, ...], ExecResult | VmsandboxError] = {}
        self.on_exec: Callable[[tuple[str, ...]], None] = lambda command: None
        self.boot: asyncio.Event | None = None
        """When set, a machine boots as long as this event is not."""
        self._ids = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []

    def hold(self, name: str, user: str = "") -> None:
        self.images[name] = Image(f"sha256:{len(self.images):064}", (name,), config=ImageConfig(user=user))

    def offer(self, name: str) -> None:
        self.in_registry[name] = Image(f"sha256:{len(self.in_registry) + 1000:064}", (name,))

    async def find_image(self, name: str) -> Image | None:
        return self.images.get(name)

    async def pull_image(self, name: str, auth: RegistryAuth | None, progress: Report) -> Image:
        self.calls.append(f"pull {name}")
        self.auths[name] = auth
        progress(PullProgress(PullPhase.DOWNLOADING, 1, 2))
        await asyncio.sleep(0)
        if name not in self.in_registry:
            raise NotFound(f"pulling {name}: there is no such image")
        self.images[name] = self.in_registry[name]
        return self.images[name]

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        self.calls.append("run sandbox")
        if self.boot:
            await self.boot.wait()
        sandbox_id = f"sandbox-{next(self._ids)}"
        self.sandboxes[sandbox_id] = SandboxStatus(
            sandbox_id, config, SandboxState.READY, time.time_ns(), ("10.0.0.2", "fd00::2"), "6.12"
        )
        return sandbox_id

    async def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        return self.sandboxes[sandbox_id]

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        self.calls.append("stop sandbox")
        for container_id in list(self.containers):
            self._end(container_id, 137, "Error")

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        self.calls.append("remove sandbox")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.sandboxes.pop(sandbox_id, None)
        self.containers.clear()

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        if self.sandboxes[sandbox_id].state is not SandboxState.READY:
            raise FailedPrecondition("the sandbox is not ready")
        held = {image.id for image in self.images.values()}
        if config.image not in held:
            raise NotFound(f"image {config.image} is not in the store")
        taken = [c.status.config.metadata for c in self.containers.values()]
        assert config.metadata not in taken, "its name is taken"
        self.calls.append(f"create {config.metadata.name}")
        self.configs.append(config)
        container_id = f"container-{next(self._ids)}"
        scripts = self.scripts.get(config.metadata.name, [Script()])
        script = scripts[min(config.metadata.attempt, len(scripts) - 1)]
        status = ContainerStatus(
            container_id, sandbox_id, config, ContainerState.CREATED, time.time_ns(), config.image, config.image
        )
        self.containers[container_id] = FakeContainer(status, script)
        return container_id

    async def start_container(self, container_id: str) -> None:
        container = self.containers[container_id]
        self.calls.append(f"start {container.status.config.metadata.name}")
        if container.script.start_error:
            self._end(container_id, 128, "StartError", str(container.script.start_error))
            raise container.script.start_error
        container.status = replace(container.status, state=ContainerState.RUNNING, started_at=time.time_ns())
        self._tasks.append(asyncio.create_task(self._run(container_id)))

    async def stop_container(self, container_id: str, timeout: float) -> None:
        container = self.containers[container_id]
        self.calls.append(f"stop {container.status.config.metadata.name} {timeout:.0f}")
        if timeout > 0 and container.script.on_stop is not None:
            self._end(container_id, container.script.on_stop, "Error" if container.script.on_stop else "Completed")
            return
        container.asked.set()
        try:
            async with asyncio.timeout(timeout):
                await container.ended.wait()
        except TimeoutError:
            self._end(container_id, 137, "Error")

    async def remove_container(self, container_id: str) -> None:
        self.calls.append(f"remove {self.containers[container_id].status.config.metadata.name}")
        del self.containers[container_id]

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self.containers[container_id].status

    async def wait_container(self, container_id: str) -> ContainerStatus:
        container = self.containers[container_id]
        await container.ended.wait()
        return container.status

    def output(self, container_id: str) -> AsyncGenerator[Output, None]:
        assert self.containers[container_id].status.state is ContainerState.CREATED, "output would be missed"
        return self._drain(self.containers[container_id])

    @contextlib.asynccontextmanager
    async def attach(self, container_id: str, *, tty: bool) -> AsyncIterator[ContainerStreams]:
        assert self.containers[container_id].status.state is ContainerState.CREATED, "output would be missed"
        yield FakeStreams(self.containers[container_id], self.typed)

    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        self.calls.append(f"exec {self.containers[container_id].status.config.metadata.name} {' '.join(command)}")
        self.on_exec(command)
        result = self.execs.get(command, ExecResult(b"", b"", 0))
        if isinstance(result, VmsandboxError):
            raise result
        return result

    def kill_machine(self, message: str) -> None:
        """Act like the service when a machine ends by itself."""
        for sandbox_id, status in self.sandboxes.items():
            self.sandboxes[sandbox_id] = replace(status, state=SandboxState.NOTREADY, message=message)
        for container_id in self.containers:
            self._end(container_id, 255, "SandboxDied", message)

    def stop_by_another_hand(self) -> None:
        """Act like the service when somebody else stops the sandbox."""
        for sandbox_id, status in self.sandboxes.items():
            self.sandboxes[sandbox_id] = replace(status, state=SandboxState.NOTREADY)
        for container_id in self.containers:
            self._end(container_id, 143, "Error")

    def running(self) -> set[str]:
        """Names of the containers that run."""
        statuses = (container.status for container in self.containers.values())
        return {s.config.metadata.name for s in statuses if s.state is ContainerState.RUNNING}

    async def _run(self, container_id: str) -> None:
        container = self.containers[container_id]
        for stream, data in container.script.output:
            container.pieces.put_nowait(Output(stream, data))
        if container.script.runs is None:
            await container.ended.wait()
            return
        await asyncio.sleep(container.script.runs)
        code = container.script.exit_code
        self._end(container_id, code, container.script.reason or ("Error" if code else "Completed"))

    def _end(self, container_id: str, code: int, reason: str, message: str = "") -> None:
        container = self.containers[container_id]
        if container.ended.is_set():
            return
        container.status = replace(
            container.status,
            state=ContainerState.EXITED,
            exit_code=code,
            reason=reason,
            message=message,
            finished_at=time.time_ns(),
        )
        container.pieces.put_nowait(None)
        container.ended.set()

    async def _drain(self, container: FakeContainer) -> AsyncGenerator[Output, None]:
        while (piece := await container.pieces.get()) is not None:
            yield piece
