"""The interface of a runtime that the runner of pods needs. The CRI can express all of it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from vmsandbox.images import Report
from vmsandbox.model import (
    AttachRequest,
    ContainerConfig,
    ContainerStatus,
    ExecResult,
    Image,
    Output,
    PodSandboxConfig,
    RegistryAuth,
    SandboxStatus,
)
from vmsandbox.sandbox.streams import AttachedClient
from vmsandbox.service import RuntimeService


class ContainerStreams(Protocol):
    """The streams of a process, as its client has them. Calls raise VmsandboxError."""

    def output(self) -> AsyncIterator[Output]:
        """Yield what the process prints, to its end."""
        ...

    async def write(self, data: bytes) -> None:
        """Type, waiting while it is not taken."""
        ...

    async def close_stdin(self) -> None:
        """Say that the input has ended."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the size of the window."""
        ...


class PodRuntime(Protocol):
    """A CRI runtime. Calls raise VmsandboxError; stopping and removing succeed when that was done before."""

    @property
    def guest_tmpfs(self) -> bool:
        """Whether `Mount.tmpfs` is understood; else emptyDir of medium Memory is a tmpfs of the host."""
        ...

    async def find_image(self, name: str) -> Image | None:
        """The image of that name, where it is held."""
        ...

    async def pull_image(self, name: str, auth: RegistryAuth | None, progress: Report) -> Image:
        """Pull an image; `progress` is called where the runtime knows how far it is."""
        ...

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        """Make a sandbox, and return its id when it is READY; on failure or cancellation nothing is left of it."""
        ...

    async def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        """Return the status of a sandbox."""
        ...

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """End a sandbox with all its containers, at once."""
        ...

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Forget a sandbox and its containers."""
        ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        """Make a container, and return its id."""
        ...

    async def start_container(self, container_id: str) -> None:
        """Let a container run; one that cannot be started is EXITED afterwards."""
        ...

    async def stop_container(self, container_id: str, timeout: float) -> None:
        """Ask a container to end, and kill it after `timeout` seconds."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Forget a container, ended by force where it runs."""
        ...

    async def container_status(self, container_id: str) -> ContainerStatus:
        """Return the status of a container."""
        ...

    async def wait_container(self, container_id: str) -> ContainerStatus:
        """The status of a container that has ended."""
        ...

    def output(self, container_id: str) -> AsyncGenerator[Output, None]:
        """The output of a container from this call on, which is made before it starts, to its end."""
        ...

    def attach(self, container_id: str, *, tty: bool) -> AbstractAsyncContextManager[ContainerStreams]:
        """The streams of a container, from this call on, which may be made before it starts; with its input."""
        ...

    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        """Run a command in a container; `timeout` in seconds, 0 for none."""
        ...


@dataclass(frozen=True, slots=True)
class _ServiceStreams(ContainerStreams):
    """The streams of a container of this process: output without a limit of patience, and a client that types."""

    pieces: AsyncGenerator[Output, None]
    client: AttachedClient

    @override
    def output(self) -> AsyncIterator[Output]:
        return self.pieces

    @override
    async def write(self, data: bytes) -> None:
        await self.client.write(data)

    @override
    async def close_stdin(self) -> None:
        await self.client.close_stdin()

    @override
    async def resize(self, columns: int, rows: int) -> None:
        await self.client.resize(columns, rows)


class ServiceRuntime(PodRuntime):
    """The runtime service of this process, whose statuses need no waiting."""

    guest_tmpfs = True

    def __init__(self, service: RuntimeService) -> None:
        """Hand calls to the service, which stays the caller's."""
        self._service = service

    @override
    async def find_image(self, name: str) -> Image | None:
        return self._service.images.find(name)

    @override
    async def pull_image(self, name: str, auth: RegistryAuth | None, progress: Report) -> Image:
        return await self._service.images.pull(name, auth, progress)

    @override
    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        return await self._service.run_pod_sandbox(config)

    @override
    async def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        return self._service.pod_sandbox_status(sandbox_id)

    @override
    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        await self._service.stop_pod_sandbox(sandbox_id)

    @override
    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        await self._service.remove_pod_sandbox(sandbox_id)

    @override
    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        return await self._service.create_container(sandbox_id, config)

    @override
    async def start_container(self, container_id: str) -> None:
        await self._service.start_container(container_id)

    @override
    async def stop_container(self, container_id: str, timeout: float) -> None:
        await self._service.stop_container(container_id, timeout)

    @override
    async def remove_container(self, container_id: str) -> None:
        await self._service.remove_container(container_id)

    @override
    async def container_status(self, container_id: str) -> ContainerStatus:
        return self._service.container_status(container_id)

    @override
    async def wait_container(self, container_id: str) -> ContainerStatus:
        return await self._service.wait_container(container_id)

    @override
    def output(self, container_id: str) -> AsyncGenerator[Output, None]:
        return self._service.output(container_id)

    @override
    @asynccontextmanager
    async def attach(self, container_id: str, *, tty: bool) -> AsyncIterator[ContainerStreams]:
        request = AttachRequest(container_id, tty=tty, stdin=True)  # It types; the output has another reader.
        async with aclosing(self._service.output(container_id)) as pieces, self._service.attach(request) as client:
            yield _ServiceStreams(pieces, client)

    @override
    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        return await self._service.exec_sync(container_id, command, timeout)
