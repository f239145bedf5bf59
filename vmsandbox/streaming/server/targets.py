"""What the streaming server leads to; `RuntimeService` has it, and so has a fake in the tests."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from vmsandbox.model import AttachRequest, ExecRequest, PortForwardRequest
from vmsandbox.protocol.messages import Stream


class Process(Protocol):
    """A process with a client: a command of its own (exec), or a container's (attach)."""

    @property
    def outputs(self) -> tuple[Stream, ...]:
        """The streams of output that it has."""
        ...

    def output(self, stream: Stream) -> AsyncGenerator[bytes, None]:
        """One of them, to its end. It goes on only when the next piece is asked for."""
        ...

    async def write(self, data: bytes) -> None:
        """Give it input, waiting while it takes none. Raises FailedPrecondition when it never will again."""
        ...

    async def close_stdin(self) -> None:
        """The client gives no more input."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """The client's window has that size. Raises FailedPrecondition where there is no terminal."""
        ...

    async def wait(self) -> int:
        """Return when it has nothing more to tell the client, with the exit code to tell."""
        ...


class Port(Protocol):
    """A TCP connection to a port of a pod."""

    async def read(self) -> bytes:
        """The next bytes, or none at the end. Raises Unavailable when it was reset."""
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

    def check_port_forward(self, request: PortForwardRequest) -> None:
        """Raise NotFound or FailedPrecondition where `port` would at once."""
        ...

    def exec(self, request: ExecRequest) -> AbstractAsyncContextManager[Process]:
        """Start a command. Leaving the context before its end kills it."""
        ...

    def attach(self, request: AttachRequest) -> AbstractAsyncContextManager[Process]:
        """Join a container's streams. Leaving the context does not touch the container."""
        ...

    def port(self, sandbox_id: str, port: int) -> AbstractAsyncContextManager[Port]:
        """Connect to a port on the pod's localhost. Raises Unavailable when nobody listens there."""
        ...
