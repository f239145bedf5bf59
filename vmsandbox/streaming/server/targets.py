"""The processes and ports that the streaming server leads to. `RuntimeService` has them, and a fake in the tests."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from vmsandbox.model import AttachRequest, DebugRequest, ExecRequest, PortForwardRequest
from vmsandbox.protocol.messages import Stream


class ClientProcess(Protocol):
    """A process with a client: a command of its own (exec), or a container's (attach)."""

    @property
    def outputs(self) -> tuple[Stream, ...]:
        """The streams of output that the process has."""
        ...

    def output(self, stream: Stream) -> AsyncGenerator[bytes, None]:
        """Yield the output of one stream, to its end. It goes on only when the next piece is asked for."""
        ...

    async def write(self, data: bytes) -> None:
        """Give the process input, waiting while it takes none. Raises FailedPrecondition when it will take no more."""
        ...

    async def close_stdin(self) -> None:
        """Say that the client gives no more input."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Set the size of the client's window. Raises FailedPrecondition without a terminal."""
        ...

    async def wait(self) -> int:
        """Wait until the process has nothing more for the client; return its exit code."""
        ...


class Port(Protocol):
    """A TCP connection to a port of a pod."""

    async def read(self) -> bytes:
        """Return the next bytes, or none at the end. Raises Unavailable when the connection was reset."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes, waiting while the port takes none. Raises Unavailable when it is gone."""
        ...

    async def close_write(self) -> None:
        """Half close. Raises Unavailable when it is gone."""
        ...


class Targets(Protocol):
    """The runtime service, as far as streaming needs it."""

    def check_exec(self, request: ExecRequest) -> None:
        """Raise NotFound, FailedPrecondition or InvalidArgument where `exec` would at once."""
        ...

    def check_attach(self, request: AttachRequest) -> None:
        """Raise NotFound or FailedPrecondition where `attach` would at once."""
        ...

    def check_debug(self, request: DebugRequest) -> None:
        """Raise NotFound, FailedPrecondition or Unimplemented where `debug` would at once."""
        ...

    def check_port_forward(self, request: PortForwardRequest) -> None:
        """Raise NotFound or FailedPrecondition where `port` would at once."""
        ...

    def exec(self, request: ExecRequest) -> AbstractAsyncContextManager[ClientProcess]:
        """Start a command. Leaving the context before its end kills it."""
        ...

    def attach(self, request: AttachRequest) -> AbstractAsyncContextManager[ClientProcess]:
        """Join a container's streams. Leaving the context does not touch the container."""
        ...

    def debug(self, request: DebugRequest) -> AbstractAsyncContextManager[ClientProcess]:
        """Start a command in the guest itself. Leaving the context before its end kills it."""
        ...

    def port(self, sandbox_id: str, port: int) -> AbstractAsyncContextManager[Port]:
        """Connect to a port on the pod's localhost. Raises Unavailable when nobody listens there."""
        ...
