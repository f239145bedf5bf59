"""The calls about pods whose sandbox has no process of its own: their caller makes and ends the machine itself."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from vmsandbox.errors import InvalidArgument, NotFound
from vmsandbox.model import PodSandboxMetadata, SandboxState
from vmsandbox.oci.control_calls import Call, text
from vmsandbox.oci.from_oci import pod_from_oci
from vmsandbox.oci.host_namespaces import joined_namespaces
from vmsandbox.oci.pods import NAMESPACE, Pods
from vmsandbox.service import RuntimeService

_LIVE = (SandboxState.STARTING, SandboxState.READY)


class PodCalls:
    """The calls; the service is the caller's."""

    def __init__(self, service: RuntimeService, pods: Pods) -> None:
        """Begin with nothing: all that is known is the service's."""
        self._service = service
        self._pods = pods
        self.by_name: Mapping[str, Call] = {
            "create_pod": self.create_pod,
            "stop_pod": self.stop_pod,
            "delete_pod": self.delete_pod,
            "wait_pod": self.wait_pod,
        }

    async def create_pod(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make the machine of a pod, or find the one that an earlier call has made; return its id.

        Raises:
            VmsandboxError: as `pod_from_oci`, `joined_namespaces` or the service; nothing is left then.
        """
        config = request.get("config")
        if not isinstance(config, dict):
            raise InvalidArgument("the request has no config.json")
        name = _name(request)
        async with self._pods.lock(name):
            if (found := self._pods.find(name)) and found.state is SandboxState.READY:
                return {"pod": found.id}
            wanted = pod_from_oci(name, config)
            await asyncio.to_thread(joined_namespaces, config)
            if found:  # An earlier daemon was making it, or it has ended.
                await self._service.remove_pod_sandbox(found.id)
            return {"pod": await self._service.run_pod_sandbox(wanted)}

    async def stop_pod(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """End the machine of a pod; its containers end, and are known. Succeeds where that was done before."""
        if found := self._pods.find(_name(request)):
            await self._service.stop_pod_sandbox(found.id)
        return {}

    async def delete_pod(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Forget a pod, with its containers. Succeeds where that was done before."""
        name = _name(request)
        async with self._pods.lock(name):
            if found := self._pods.find(name):
                await self._service.remove_pod_sandbox(found.id)
        return {}

    async def wait_pod(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return when the machine of a pod has ended. Raises NotFound: there is no such pod."""
        name = _name(request)
        if (found := self._pods.find(name)) is None:
            raise NotFound(f"pod {name.name} has no machine")
        if found.state not in _LIVE:
            return {}
        async with contextlib.aclosing(self._service.events()) as events:
            async for event in events:
                if event.container_id == found.id and self._has_ended(name):
                    break
        return {}

    def _has_ended(self, name: PodSandboxMetadata) -> bool:
        found = self._pods.find(name)
        return found is None or found.state not in _LIVE


def _name(request: Mapping[str, Any]) -> PodSandboxMetadata:
    return PodSandboxMetadata(text(request, "id"), text(request, "root"), NAMESPACE)
