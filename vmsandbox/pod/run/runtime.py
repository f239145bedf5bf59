"""The interface of a runtime that the runner of pods needs. The CRI can express all of it."""

from collections.abc import AsyncGenerator
from typing import Protocol

from vmsandbox.images import Report
from vmsandbox.model import (
    ContainerConfig,
    ContainerStatus,
    ExecResult,
    Image,
    Output,
    PodSandboxConfig,
    RegistryAuth,
    SandboxStatus,
)
from vmsandbox.service import RuntimeService


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

    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        """Run a command in a container; `timeout` in seconds, 0 for none."""
        ...


class ServiceRuntime:
    """The runtime service of this process, whose statuses need no waiting."""

    guest_tmpfs = True

    def __init__(self, service: RuntimeService) -> None:
        """Hand calls to the service, which stays the caller's."""
        self._service = service
        self.run_pod_sandbox = service.run_pod_sandbox
        self.stop_pod_sandbox = service.stop_pod_sandbox
        self.remove_pod_sandbox = service.remove_pod_sandbox
        self.create_container = service.create_container
        self.start_container = service.start_container
        self.stop_container = service.stop_container
        self.remove_container = service.remove_container
        self.wait_container = service.wait_container
        self.output = service.output
        self.exec_sync = service.exec_sync
        self.pull_image = service.images.pull

    async def find_image(self, name: str) -> Image | None:
        """See `PodRuntime`."""
        return self._service.images.find(name)

    async def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        """See `PodRuntime`."""
        return self._service.pod_sandbox_status(sandbox_id)

    async def container_status(self, container_id: str) -> ContainerStatus:
        """See `PodRuntime`."""
        return self._service.container_status(container_id)
