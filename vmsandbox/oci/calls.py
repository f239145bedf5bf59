"""The calls of `vmsandbox-oci` that have one answer. The command keeps which container is which; the daemon has ids."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from vmsandbox import aio
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound
from vmsandbox.model import ContainerState
from vmsandbox.oci.from_oci import from_oci
from vmsandbox.service import RuntimeService

Call = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]

_STATUS = {
    ContainerState.UNKNOWN: "creating",
    ContainerState.CREATED: "created",
    ContainerState.RUNNING: "running",
    ContainerState.EXITED: "stopped",
}
"""The runtime-spec's words for states."""

_ENDING_SIGNALS = frozenset({"KILL", "SIGKILL", "9", "TERM", "SIGTERM", "15"})


class Calls:
    """The calls; the service is the caller's."""

    def __init__(self, service: RuntimeService) -> None:
        """Begin with nothing: all that is known is the service's."""
        self._service = service
        self.by_name: Mapping[str, Call] = {
            "create": self.create,
            "start": self.start,
            "state": self.state,
            "kill": self.kill,
            "delete": self.delete,
        }

    async def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make a machine and the container in it; return its id. On failure nothing is left.

        Raises:
            VmsandboxError: as `from_oci`, or as the service.
        """
        config = request.get("config")
        if not isinstance(config, dict):
            raise InvalidArgument("the request has no config.json")
        wanted = from_oci(text(request, "id"), text(request, "root"), text(request, "bundle"), config)
        sandbox_id = await self._service.run_pod_sandbox(wanted.pod)
        try:
            return {"container": await self._service.create_container(sandbox_id, wanted.container)}
        except BaseException:
            await aio.to_its_end(self._service.remove_pod_sandbox(sandbox_id))
            raise

    async def start(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let the container's process run."""
        await self._service.start_container(text(request, "container"))
        return {}

    async def state(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state; a container that the daemon has lost with its machine is stopped."""
        try:
            state = self._service.container_status(text(request, "container")).state
        except NotFound:
            state = ContainerState.EXITED
        return {"status": _STATUS[state]}

    async def kill(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a signal. One that ends a process also ends a container that was not started.

        Raises:
            FailedPrecondition: the container has ended; "not running" is what callers look for.
        """
        container, signal = text(request, "container"), text(request, "signal")
        status = await self.state(request)
        if status["status"] == "stopped":
            raise FailedPrecondition(f"container not running: {container}")
        if status["status"] == "created" and signal.upper() in _ENDING_SIGNALS:
            await self._service.stop_container(container, 0)
        else:
            await self._service.signal_container(container, signal)
        return {}

    async def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """End the container's machine and forget both. Succeeds where that was done before."""
        with contextlib.suppress(NotFound):
            status = self._service.container_status(text(request, "container"))
            await self._service.remove_pod_sandbox(status.sandbox_id)
        return {}


def text(request: Mapping[str, Any], name: str) -> str:
    """Return a field of a request. Raises InvalidArgument: it is missing."""
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"the request has no {name}")
    return value
