"""The client's calls that the CRI does not have (`cri.additions`)."""

from collections.abc import Callable
from typing import Any

from vmsandbox.cri.additions import CALLS, SERVICE, EndPod, SignalContainer, reader, to_wire
from vmsandbox.cri.client.base import Client
from vmsandbox.cri.codes import translated


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

    async def _ask(self, request: object) -> Any:
        name = type(request).__name__
        read: Callable[[bytes], Any] = reader(CALLS[name][1])
        call = self._channel.unary_unary(f"/{SERVICE}/{name}", request_serializer=to_wire, response_deserializer=read)
        with translated():
            return await call(request)
