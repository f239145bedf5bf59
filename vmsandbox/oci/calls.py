"""The calls of `vmsandbox-oci` that have one answer. The command keeps which container is which; the daemon has ids."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmsandbox import aio
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound, VmsandboxError
from vmsandbox.model import ContainerState
from vmsandbox.oci.control_calls import Call, ControlCalls, text
from vmsandbox.oci.from_oci import OciContainer, from_oci
from vmsandbox.oci.membership import HANDLER
from vmsandbox.oci.pod_calls import PodCalls
from vmsandbox.oci.pods import Pods
from vmsandbox.oci.shm import shm_size_of
from vmsandbox.service import RuntimeService

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

    def __init__(self, service: RuntimeService, pods: Pods) -> None:
        """Begin with nothing: all that is known is the service's, and of `pods`."""
        self._service = service
        self._pods = pods
        self.by_name: Mapping[str, Call] = {
            "create": self.create,
            "start": self.start,
            "state": self.state,
            "kill": self.kill,
            "delete": self.delete,
            **ControlCalls(service).by_name,
            **PodCalls(service, pods).by_name,
        }

    async def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make a container, in the machine of its pod or in a new one; return its id. On failure nothing is left.

        Raises:
            VmsandboxError: as `Pods.place` and `from_oci`, or as the service.
        """
        container_id, config = text(request, "id"), _config(request)
        pod = await self._pods.pod_of(container_id, text(request, "root"), config)
        async with self._pods.lock(pod):
            place = await self._pods.place(pod, container_id, config)
            if processes := request.get("processes_of"):
                place = replace(place, processes_of=str(processes))
            bundle = text(request, "bundle")
            shm_size = await asyncio.to_thread(shm_size_of, bundle, config)
            wanted = from_oci(place, container_id, bundle, config, shm_size)
            if place.sandbox is not None:
                return {"container": await self._service.create_container(place.sandbox.id, wanted.container)}
            return {"container": await self._create_alone(wanted)}

    async def _create_alone(self, wanted: OciContainer) -> str:
        sandbox_id = await self._service.run_pod_sandbox(wanted.pod)
        try:
            return await self._service.create_container(sandbox_id, wanted.container)
        except BaseException:
            await aio.to_its_end(self._service.remove_pod_sandbox(sandbox_id))
            raise

    async def start(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let the container's process run; `network` is the path of a namespace that may have been filled meanwhile.

        A container that cannot be started has ended, as callers expect it: they remove what has ended alone.
        """
        container = text(request, "container")
        try:
            if request.get("network"):
                sandbox = self._service.container_status(container).sandbox_id
                await self._service.join_network(sandbox, Path(text(request, "network")))
            await self._service.start_container(container)
        except VmsandboxError:
            if (await self.state(request))["status"] == "created":
                with contextlib.suppress(VmsandboxError):
                    await self._service.stop_container(container, 0)
            raise
        return {}

    async def state(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state; a container that the daemon has lost with its machine is stopped."""
        try:
            state = self._service.container_status(text(request, "container")).state
        except NotFound:
            state = ContainerState.EXITED
        return {"status": _STATUS[state]}

    async def kill(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a signal, with `all` to every process. One that ends a process also ends a container not started yet.

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
            await self._service.signal_container(container, signal, everyone=request.get("all") is True)
        return {}

    async def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Forget a container, and end its machine with the last one. Succeeds where that was done before.

        Returns:
            `cgroup`: of the machine that has ended. It may be that of a container that was deleted before.
        """
        try:
            status = self._service.container_status(text(request, "container"))
            pod = self._service.pod_sandbox_status(status.sandbox_id).config
        except NotFound:
            return {}
        async with self._pods.lock(pod.metadata):
            if not pod.lasting and self._pods.ends_machine(status):
                await self._service.remove_pod_sandbox(status.sandbox_id)
                return {"cgroup": pod.cgroup_parent}
            await self._service.remove_container(status.id)
        return {}


def _config(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json; the profile that the command was told counts where its annotations name none."""
    config = request.get("config")
    if not isinstance(config, dict):
        raise InvalidArgument("the request has no config.json")
    linux, annotations = config.get("linux") or {}, config.get("annotations") or {}
    namespaces = (linux.get("namespaces") if isinstance(linux, dict) else 0) or []
    lists = isinstance(namespaces, list) and all(map(_is_object, namespaces))
    if not (lists and isinstance(linux, dict) and isinstance(annotations, dict)):
        raise InvalidArgument("config.json is malformed: annotations, linux and linux.namespaces are objects")
    if profile := request.get("profile"):
        return {**config, "annotations": {HANDLER: profile, **annotations}}
    return config


def _is_object(value: object) -> bool:
    return isinstance(value, dict)
