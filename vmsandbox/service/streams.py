"""The calls that move bytes: a container's output, commands, the streams of clients, ports."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from vmsandbox.errors import InvalidArgument
from vmsandbox.guest import PortStream
from vmsandbox.model import AttachRequest, DebugRequest, ExecRequest, ExecResult, Output, PortForwardRequest
from vmsandbox.sandbox.spec import ContainerCall, SandboxCall
from vmsandbox.sandbox.streams import AttachedClient, ExecProcess
from vmsandbox.service.base import Service


class StreamService(Service):
    """ExecSync, Exec, Attach and PortForward. The streaming server asks `check_...` before it gives out a URL."""

    def output(self, container_id: str) -> AsyncGenerator[Output, None]:
        """A container's output from now on, to its end. A slow reader holds the container back. Raises NotFound."""
        return self._sandboxes.container(container_id).output()

    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        """Run a command in a container to its end (CRI ExecSync); `timeout` in seconds, 0 for none.

        Raises:
            NotFound: there is no such container.
            FailedPrecondition: it does not run.
            DeadlineExceeded: the command did not end in time, and was killed.
        """
        if not command:
            raise InvalidArgument("no command was given")
        container = await self._container(container_id)
        return await container.exec_sync(command, timeout)

    def check_exec(self, request: ExecRequest) -> None:
        """Raise NotFound or FailedPrecondition where `exec` would at once."""
        self._sandboxes.container(request.container_id).require(ContainerCall.EXEC)

    def check_attach(self, request: AttachRequest) -> None:
        """Raise NotFound or FailedPrecondition where `attach` would at once."""
        self._sandboxes.container(request.container_id).require(ContainerCall.ATTACH)

    def check_debug(self, request: DebugRequest) -> None:
        """Raise as `debug` would at once."""
        self._sandboxes.find(request.sandbox_id).check_debug()

    def check_port_forward(self, request: PortForwardRequest) -> None:
        """Raise NotFound or FailedPrecondition where `port` would at once."""
        self._sandboxes.find(request.sandbox_id).require(SandboxCall.PORT_FORWARD)

    @contextlib.asynccontextmanager
    async def exec(self, request: ExecRequest) -> AsyncIterator[ExecProcess]:
        """Run a command with a client (CRI Exec); leaving the context before its end kills it. See `Execs.open`.

        Raises:
            NotFound: there is no such container.
            FailedPrecondition: it does not run.
            VmsandboxError: the command could not be started.
        """
        container = await self._container(request.container_id)
        async with container.exec(request) as process:
            yield process

    @contextlib.asynccontextmanager
    async def attach(self, request: AttachRequest) -> AsyncIterator[AttachedClient]:
        """Join the streams of a container that runs, or will (CRI Attach). Raises NotFound, FailedPrecondition."""
        container = await self._container(request.container_id)
        async with container.attach(stdin=request.stdin, output=request.stdout or request.stderr) as attachment:
            yield attachment

    @contextlib.asynccontextmanager
    async def debug(self, request: DebugRequest) -> AsyncIterator[ExecProcess]:
        """Run a command in a sandbox's guest itself, with a client; leaving the context before its end kills it.

        Raises:
            NotFound: there is no such sandbox.
            FailedPrecondition: it is not READY, or `machine.debug` is off, or was when it was made.
            Unimplemented: an older version has made the machine.
            VmsandboxError: the command could not be started.
        """
        sandbox = await self._sandbox(request.sandbox_id)
        async with sandbox.debug(request) as process:
            yield process

    @contextlib.asynccontextmanager
    async def port(self, sandbox_id: str, port: int) -> AsyncIterator[PortStream]:
        """Connect to a port on a pod's localhost (CRI PortForward).

        Raises NotFound; FailedPrecondition: it is not READY; Unavailable: nobody listens on that port.
        """
        sandbox = await self._sandbox(sandbox_id)
        async with sandbox.port(port) as stream:
            yield stream
