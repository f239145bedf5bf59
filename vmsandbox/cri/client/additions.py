"""The client's calls that the CRI does not have (`cri.additions`)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vmsandbox.cri.additions import CALLS, SERVICE, Debug, EndPod, ReadConsole, SignalContainer, reader, to_wire
from vmsandbox.cri.client.base import Client
from vmsandbox.cri.codes import translated

if TYPE_CHECKING:
    from vmsandbox.model import DebugRequest


class AdditionsClient(Client):
    """See the package. Every call raises Unimplemented where the runtime is older, or not ours.

    One on a sandbox or container that a delegate has raises NotFound.
    """

    async def signal_container(self, container_id: str, signal: str) -> None:
        """Send a signal, a name or a number, to a container's first process."""
        await self._ask(SignalContainer(container_id, signal))

    async def end_pod(self, sandbox_id: str, timeout: float) -> None:
        """Ask a sandbox's containers to end, kill those that have not after `timeout` seconds, and stop it."""
        await self._ask(EndPod(sandbox_id, timeout))

    async def read_console(self, sandbox_id: str, position: int) -> tuple[str, int]:
        """Return what a sandbox's guest has printed from a position on, and the position of its end."""
        read = await self._ask(ReadConsole(sandbox_id, position))
        return read.text, read.position

    async def debug_url(self, request: "DebugRequest") -> str:
        """Return the URL at which a command runs in a sandbox's guest itself."""
        wanted = Debug(request.sandbox_id, request.command, request.tty, request.stdin)
        return str((await self._ask(wanted)).url)

    async def _ask(self, request: object) -> Any:
        name = type(request).__name__
        read: Callable[[bytes], Any] = reader(CALLS[name][1])
        call = self._channel.unary_unary(f"/{SERVICE}/{name}", request_serializer=to_wire, response_deserializer=read)
        with translated():
            return await call(request)
