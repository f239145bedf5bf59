"""The calls of `cri.additions`."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from vmsandbox.cri import additions
from vmsandbox.cri.additions import (
    CALLS,
    SERVICE,
    ConsoleText,
    Debug,
    Done,
    EndPod,
    ReadConsole,
    SignalContainer,
    StreamingUrl,
)
from vmsandbox.cri.interceptor import Context
from vmsandbox.cri.servicer.base import Servicer
from vmsandbox.model import DebugRequest


class AdditionsServicer(Servicer):
    """`vmsandbox.v1.Additions`. A container or sandbox of a delegate is unknown here: NotFound."""

    async def SignalContainer(self, request: SignalContainer) -> Done:
        """Send a signal to a container's first process."""
        await self.service.signal_container(self.container_id(request.container_id), request.signal)
        return Done()

    async def EndPod(self, request: EndPod) -> Done:
        """End a sandbox's containers together, and then the sandbox."""
        await self.service.end_pod(self.sandbox_id(request.pod_sandbox_id), request.timeout)
        return Done()

    async def ReadConsole(self, request: ReadConsole) -> ConsoleText:
        """Return what a sandbox's guest has printed."""
        sandbox = self.sandbox_id(request.pod_sandbox_id)
        return ConsoleText(*await self.service.read_console(sandbox, request.position))

    async def Debug(self, request: Debug) -> StreamingUrl:
        """Return a URL at which a command runs in a sandbox's guest itself."""
        wanted = DebugRequest(
            self.sandbox_id(request.pod_sandbox_id),
            request.command,
            tty=request.tty,
            stdin=request.stdin,
            stdout=True,
            stderr=not request.tty,
        )
        return StreamingUrl(self.urls.debug_url(wanted))

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a gRPC server is to be given."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(_behaviour(getattr(self, name), request))
            for name, (request, _) in CALLS.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)


def _behaviour(call: Callable[[Any], Awaitable[object]], request: type) -> Callable[[bytes, Context], Any]:
    """Convert here, not in gRPC's own hooks: a request that cannot be read is answered as such."""
    read: Callable[[bytes], Any] = additions.reader(request)

    async def behaviour(data: bytes, _: Context) -> bytes:
        return additions.to_wire(await call(read(data)))

    return behaviour
