"""A client of the daemon: the CRI's calls in the model's words, for the command line.

Calls have the names of `vmsandbox.service.RuntimeService` where they do the same. Cancelling one cancels it in the
daemon. What the daemon refuses is raised as the error of `vmsandbox.errors` that it was there.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import grpc.aio
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri.codes import translated
from vmsandbox.cri.convert import told
from vmsandbox.cri.convert.container import container_config_to_wire
from vmsandbox.cri.convert.document import document
from vmsandbox.cri.convert.pod import sandbox_config_to_wire
from vmsandbox.cri.convert.resources import resources_to_wire
from vmsandbox.cri.image_client import ImageClient
from vmsandbox.cri.server import MESSAGE_LIMIT
from vmsandbox.errors import Unavailable, Unimplemented
from vmsandbox.model import (
    AttachRequest,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStatus,
    ExecRequest,
    ExecResult,
    PodSandboxConfig,
    PortForwardRequest,
    Resources,
    SandboxStatus,
)
from vmsandbox.protocol.codec import JSON

CONNECT_TIMEOUT = 5.0
"""Seconds in which a daemon that lives takes a connection."""

LOOK_INTERVAL = 0.5
"""Seconds between looks at a container whose runtime gives no events."""


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator["CriClient"]:
    """A client of the daemon that serves the socket; the connection lasts as long as the context.

    Raises:
        Unavailable: no daemon answers there.
    """
    options = [("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.max_send_message_length", MESSAGE_LIMIT)]
    async with grpc.aio.insecure_channel(f"unix:{path}", options=options) as channel:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT if _exists(path) else 0):
                await channel.channel_ready()
        except TimeoutError:
            raise Unavailable(f"no daemon serves {path}", hint="start it: `vmsandbox serve`") from None
        yield CriClient(channel)


@contextlib.asynccontextmanager
async def connected_if_served(path: Path) -> AsyncIterator["CriClient | None"]:
    """As `connected`; None where no daemon listens on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(os.fspath(path)) != 0:
            yield None
            return
    async with connected(path) as client:
        yield client


def _exists(path: Path) -> bool:
    return path.exists()


class CriClient:
    """See the module. Every call raises what the daemon raised, and Unavailable where the daemon has gone."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Speak over a channel, which is the caller's; see `connected`."""
        self._runtime = api_pb2_grpc.RuntimeServiceStub(channel)
        self.images = ImageClient(channel)

    async def version(self) -> str:
        """Name and version of the runtime."""
        with translated():
            response = await self._runtime.Version(api.VersionRequest())
        return f"{response.runtime_name} {response.runtime_version}"

    async def status(self) -> JSON:
        """The conditions, handlers and features of the runtime, and its configuration, as a JSON document."""
        with translated():
            response = await self._runtime.Status(api.StatusRequest(verbose=True))
        return _inspected(response)

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        """Make a sandbox; returns its id when it is READY."""
        request = api.RunPodSandboxRequest(
            config=sandbox_config_to_wire(config), runtime_handler=config.runtime_handler
        )
        with translated():
            return str((await self._runtime.RunPodSandbox(request)).pod_sandbox_id)

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """End a sandbox's containers and machine."""
        with translated():
            await self._runtime.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox and forget it."""
        with translated():
            await self._runtime.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        """What the daemon tells of a sandbox (see `convert.told`)."""
        with translated():
            response = await self._runtime.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id))
        return told.sandbox_of_status(response.status)

    async def inspect_pod_sandbox(self, sandbox_id: str) -> JSON:
        """All that the daemon tells of a sandbox, as a JSON document."""
        request = api.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True)
        with translated():
            return _inspected(await self._runtime.PodSandboxStatus(request))

    async def list_pod_sandboxes(self) -> tuple[SandboxStatus, ...]:
        """All sandboxes."""
        with translated():
            response = await self._runtime.ListPodSandbox(api.ListPodSandboxRequest())
        return tuple(map(told.sandbox_of_item, response.items))

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        """Make a container; returns its id."""
        request = api.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=container_config_to_wire(config))
        with translated():
            return str((await self._runtime.CreateContainer(request)).container_id)

    async def start_container(self, container_id: str) -> None:
        """Let a container run."""
        with translated():
            await self._runtime.StartContainer(api.StartContainerRequest(container_id=container_id))

    async def stop_container(self, container_id: str, timeout: float) -> None:
        """Ask a container to end, and kill it after `timeout` seconds."""
        request = api.StopContainerRequest(container_id=container_id, timeout=round(timeout))
        with translated():
            await self._runtime.StopContainer(request)

    async def remove_container(self, container_id: str) -> None:
        """End a container if it runs, and forget it."""
        with translated():
            await self._runtime.RemoveContainer(api.RemoveContainerRequest(container_id=container_id))

    async def container_status(self, container_id: str) -> ContainerStatus:
        """What the daemon tells of a container (see `convert.told`)."""
        request = api.ContainerStatusRequest(container_id=container_id, verbose=True)
        with translated():
            response = await self._runtime.ContainerStatus(request)
        info = json.loads(response.info.get("info", "{}"))
        return told.container_of_status(response.status, str(info.get("sandboxID", "")))

    async def inspect_container(self, container_id: str) -> JSON:
        """All that the daemon tells of a container, as a JSON document."""
        request = api.ContainerStatusRequest(container_id=container_id, verbose=True)
        with translated():
            return _inspected(await self._runtime.ContainerStatus(request))

    async def list_containers(self) -> tuple[ContainerStatus, ...]:
        """All containers."""
        with translated():
            response = await self._runtime.ListContainers(api.ListContainersRequest())
        return tuple(map(told.container_of_item, response.containers))

    async def wait_container(self, container_id: str) -> ContainerStatus:
        """The status of a container, when it has ended."""
        try:
            return await self._end_by_events(container_id)
        except Unimplemented:  # a delegate of the daemon's gives none
            return await self._end_by_looking(container_id)

    async def _end_by_events(self, container_id: str) -> ContainerStatus:
        async with self._subscribed() as events:
            status = await self.container_status(container_id)
            while status.state is not ContainerState.EXITED:
                if (await anext(events)).container_id in (status.id, status.sandbox_id):
                    status = await self.container_status(container_id)
        return status

    async def _end_by_looking(self, container_id: str) -> ContainerStatus:
        while (status := await self.container_status(container_id)).state is not ContainerState.EXITED:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_INTERVAL)
        return status

    async def exec_sync(self, container_id: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        """Run a command in a container to its end; `timeout` in seconds, 0 for none."""
        request = api.ExecSyncRequest(container_id=container_id, cmd=command, timeout=round(timeout))
        with translated():
            response = await self._runtime.ExecSync(request)
        return ExecResult(response.stdout, response.stderr, response.exit_code)

    async def exec_url(self, request: ExecRequest) -> str:
        """The URL at which a command's streams are."""
        wire = api.ExecRequest(
            container_id=request.container_id,
            cmd=request.command,
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        with translated():
            return str((await self._runtime.Exec(wire)).url)

    async def attach_url(self, request: AttachRequest) -> str:
        """The URL at which a container's own streams are."""
        wire = api.AttachRequest(
            container_id=request.container_id,
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        with translated():
            return str((await self._runtime.Attach(wire)).url)

    async def port_forward_url(self, request: PortForwardRequest) -> str:
        """The URL at which ports of a sandbox are reached."""
        wire = api.PortForwardRequest(pod_sandbox_id=request.sandbox_id, port=request.ports)
        with translated():
            return str((await self._runtime.PortForward(wire)).url)

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        """Change those of a container's limits that are set."""
        request = api.UpdateContainerResourcesRequest(container_id=container_id, linux=resources_to_wire(resources))
        with translated():
            await self._runtime.UpdateContainerResources(request)

    async def reopen_container_log(self, container_id: str) -> None:
        """Go on in a new log file."""
        with translated():
            await self._runtime.ReopenContainerLog(api.ReopenContainerLogRequest(container_id=container_id))

    async def events(self) -> AsyncGenerator[ContainerEvent, None]:
        """What happens to sandboxes and containers from now on, until the daemon ends: then Unavailable is raised."""
        async with self._subscribed() as events:
            async for event in events:
                yield event

    @contextlib.asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[AsyncIterator[ContainerEvent]]:
        """The events; in the body none is missed any more."""
        call = self._runtime.GetContainerEvents(api.GetEventsRequest())
        try:
            with translated():
                await call.initial_metadata()
            yield _events(call)
        finally:
            call.cancel()


async def _events(
    call: "grpc.aio.UnaryStreamCall[api.GetEventsRequest, api.ContainerEventResponse]",
) -> AsyncIterator[ContainerEvent]:
    with translated():
        async for wire in call:
            yield told.event_of(wire)
    raise Unavailable("the daemon ended the stream of events")


def _inspected(
    response: api.StatusResponse | api.PodSandboxStatusResponse | api.ContainerStatusResponse,
) -> dict[str, JSON]:
    """The message, with the JSON texts of its `info` as what they say."""
    inspected = document(response)
    inspected["info"] = {key: json.loads(text) for key, text in response.info.items()}
    return inspected
