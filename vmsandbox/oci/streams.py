"""The streams of a container's own process and of an exec, carried to the process that stands for it on the host.

That process is the container's for its caller: when it is gone before the container's end, the container is killed,
except in a pod that its caller ends.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, NoReturn, Protocol

from vmsandbox import aio, log
from vmsandbox.errors import FailedPrecondition, NotFound, VmsandboxError
from vmsandbox.model import AttachRequest, ContainerState, ExecRequest, Output
from vmsandbox.oci.control_calls import text
from vmsandbox.oci.from_oci import process_from_oci
from vmsandbox.oci.localhosts import Localhosts
from vmsandbox.oci.pods import Pods
from vmsandbox.oci_command import wire
from vmsandbox.oci_command.frames import Connection, Disconnected
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams import AttachedClient, ExecProcess
from vmsandbox.service import RuntimeService

_log = log.get(__name__)

_KINDS = {Stream.STDOUT: wire.STDOUT, Stream.STDERR: wire.STDERR}
_KILLED_FOR_MEMORY = "OOMKilled"
"""The reason of an end; see `ContainerStatus.reason`."""
_KILLED = 137
"""The exit status of a container that was removed meanwhile."""


class _Process(Protocol):
    """The input and the signals of a process."""

    async def write(self, data: bytes) -> None:
        """Give it input."""

    async def close_stdin(self) -> None:
        """End its input."""

    async def resize(self, columns: int, rows: int) -> None:
        """Set its window."""

    async def signal(self, number: int) -> None:
        """Send it a signal."""


class Streams:
    """The two calls that have streams; the service is the caller's."""

    def __init__(self, service: RuntimeService, pods: Pods) -> None:
        """Serve the containers of the service, and tell `pods` of the processes that stand for them."""
        self._service = service
        self._pods = pods
        self._localhosts = Localhosts(service)
        self.by_name: Mapping[str, Callable[[Connection, Mapping[str, Any]], Awaitable[None]]] = {
            "attach": self.attach,
            "exec": self.exec,
        }

    async def attach(self, connection: Connection, request: Mapping[str, Any]) -> None:
        """Carry the streams of a container's own process, to its end.

        Raises:
            NotFound: there is no such container.
            Disconnected: the other end has gone; the container was killed.
        """
        container = text(request, "container")
        try:
            with self._pods.process(container, connection.peer):
                async with self._localhosts.serving(container):
                    await self._attach(connection, container)
        finally:
            await self._end_pod(container)

    async def _attach(self, connection: Connection, container: str) -> None:
        async with contextlib.AsyncExitStack() as stack:
            try:
                attached = await stack.enter_async_context(self._service.attach(AttachRequest(container)))
            except FailedPrecondition:  # It has ended.
                await connection.answer()
                await self._tell_end(connection, container)
                return
            output = await stack.enter_async_context(contextlib.aclosing(self._service.output(container)))
            await connection.answer()
            process = _OwnProcess(self._service, container, attached)
            try:
                await _together(self._carry(connection, container, output), connection, process)
            except Disconnected:
                if self._pods.is_lasting(self._service.container_status(container).sandbox_id):
                    raise
                _log.warning("the process on this host of container %s is gone: the container is killed", container)
                await self._service.stop_container(container, 0)
                raise

    async def exec(self, connection: Connection, request: Mapping[str, Any]) -> None:
        """Run another process, and carry its streams to its end. Where the other end goes, it is ended.

        Raises:
            VmsandboxError: it could not be started.
            Disconnected: the other end has gone.
        """
        process = process_from_oci(request.get("process") or {})
        wanted = ExecRequest(
            text(request, "container"),
            tuple(process["args"]),
            tty=bool(process.get("terminal")),
            stdin=True,
            process=process,
        )
        async with self._service.exec(wanted) as running:
            await connection.answer()
            await _together(_carry_exec(connection, running), connection, running)

    async def _end_pod(self, container: str) -> None:
        """End the other containers of a pod whose sandbox has ended."""
        try:
            ended = self._service.container_status(container).state is ContainerState.EXITED
        except NotFound:
            return
        for other in self._pods.ending_with(container) if ended else ():
            await self._service.stop_container(other, 0)

    async def _carry(self, connection: Connection, container: str, output: AsyncGenerator[Output, None]) -> None:
        async for piece in output:
            await connection.send(wire.pack(_KINDS[piece.stream], piece.data))
        await self._tell_end(connection, container)

    async def _tell_end(self, connection: Connection, container: str) -> None:
        try:
            status = await self._service.wait_container(container)
            code = status.exit_code
            if status.reason == _KILLED_FOR_MEMORY:
                await connection.send(wire.pack_message({"oom": True}))
        except NotFound:
            code = _KILLED
        await connection.send(wire.pack_number(wire.EXIT, code & 255))


class _OwnProcess:
    """The input and the signals of a container's own process."""

    def __init__(self, service: RuntimeService, container: str, attached: AttachedClient) -> None:
        self._service = service
        self._container = container
        self.write = attached.write
        self.close_stdin = attached.close_stdin
        self.resize = attached.resize

    async def signal(self, number: int) -> None:
        """Send it a signal."""
        await self._service.signal_container(self._container, str(number))


async def _carry_exec(connection: Connection, process: ExecProcess) -> None:
    async def carry(stream: Stream) -> None:
        async with contextlib.aclosing(process.output(stream)) as pieces:
            async for data in pieces:
                await connection.send(wire.pack(_KINDS[stream], data))

    await aio.together(*(carry(stream) for stream in process.outputs))
    await connection.send(wire.pack_number(wire.EXIT, await process.wait() & 255))


async def _together(carrying: Any, connection: Connection, process: _Process) -> None:
    """Carry output to its end, and input meanwhile. Raises Disconnected, WireError, and what `carrying` raises."""
    async with aio.background(_take(connection, process), "input over the OCI door") as taking:
        await aio.unless(carrying, taking)


async def _take(connection: Connection, process: _Process) -> NoReturn:
    """Pass on what the other end sends, until it goes. A process that does not take it (any more) misses it."""
    while True:
        kind, payload = await connection.receive()
        with contextlib.suppress(VmsandboxError):
            if kind == wire.STDIN:
                await (process.write(payload) if payload else process.close_stdin())
            elif kind == wire.SIGNAL:
                await process.signal(wire.number(payload))
            elif kind == wire.WINDOW:
                await process.resize(*wire.window(payload))
