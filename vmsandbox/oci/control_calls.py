"""The calls about a container that runs: to keep it from running, to change its limits, to look into it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.oci.limits import update_from_oci
from vmsandbox.oci.stats import stats_from
from vmsandbox.service import RuntimeService

Call = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class ControlCalls:
    """The calls; the service is the caller's."""

    def __init__(self, service: RuntimeService) -> None:
        """Serve the containers of the service."""
        self._service = service
        self.by_name: Mapping[str, Call] = {
            "pause": self.pause,
            "resume": self.resume,
            "update": self.update,
            "stats": self.stats,
            "processes": self.processes,
        }

    async def pause(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Keep all processes of a container from running."""
        await self._service.freeze_container(text(request, "container"), frozen=True)
        return {}

    async def resume(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let them go on."""
        await self._service.freeze_container(text(request, "container"), frozen=False)
        return {}

    async def update(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Change the limits of a container, and the size of its machine with them.

        Raises:
            VmsandboxError: as `update_from_oci`, or as the service.
        """
        changes = update_from_oci(request.get("resources"))
        await self._service.update_container_resources(text(request, "container"), changes)
        return {}

    async def stats(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a container uses, as runc tells it. Raises FailedPrecondition: it does not run."""
        container = text(request, "container")
        sandbox = self._service.container_status(container).sandbox_id
        usage = (await self._service.measure_containers([sandbox])).get(container)
        if usage is None:
            raise FailedPrecondition(f"container {container} is not running, or its guest does not answer")
        return {"stats": stats_from(usage)}

    async def processes(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the processes of a container, with the numbers that they have in it."""
        listed = await self._service.list_processes(text(request, "container"))
        return {
            "processes": [
                {
                    "pid": each.pid,
                    "parent": each.parent,
                    "uid": each.uid,
                    "started": each.started,
                    "cpu": each.cpu,
                    "command": each.command,
                }
                for each in listed
            ]
        }


def text(request: Mapping[str, Any], name: str) -> str:
    """Return a field of a request. Raises InvalidArgument: it is missing."""
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"the request has no {name}")
    return value
