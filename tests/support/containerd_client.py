"""containerd's part towards `vmsandbox containerd`: a client of its services, and the services that it has itself."""

import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tests.support.waiting import until
from vmsandbox.containerd.messages import CONTROLLER, EMPTY, TASK, class_of, message, types_of

NAMESPACE = "k8s.io"
_METADATA = (("containerd-namespace", NAMESPACE),)


class ServicesClient:
    """Calls by their names, with the namespace that the CRI uses."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, socket: Path) -> AsyncIterator["ServicesClient"]:
        async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
            yield cls(channel)

    async def sandbox(self, call: str, **fields: Any) -> Any:
        return await self.send(CONTROLLER, call, types_of(CONTROLLER, call)[0](**fields))

    async def task(self, call: str, **fields: Any) -> Any:
        return await self.send(TASK, call, types_of(TASK, call)[0](**fields))

    async def send(self, service: str, call: str, request: Any) -> Any:
        """Make a call. Raises AioRpcError."""
        method = self._channel.unary_unary(
            f"/{service}/{call}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=types_of(service, call)[1].FromString,
        )
        return await method(request, metadata=_METADATA, timeout=300)


class FakeContainerd:
    """The services of containerd that are asked: it keeps events, and knows the tasks and sandboxes that it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.known: set[str] = set()
        self.targets: dict[str, str] = {}
        """The containers whose processes others see."""

    @contextlib.asynccontextmanager
    async def serving(self, socket: Path) -> AsyncIterator["FakeContainerd"]:
        server = grpc.aio.server()
        for service, call, request, method in (
            ("events.v1.Events", "Forward", "ForwardRequest", self.forward),
            ("tasks.v1.Tasks", "Get", "GetRequest", self.get_task),
            ("sandbox.v1.Store", "Get", "Named", self.get_sandbox),
            ("containers.v1.Containers", "Get", "GetContainerRequest", self.get_container),
        ):
            name = f"containerd.services.{service}"
            handler = grpc.unary_unary_rpc_method_handler(
                method,
                request_deserializer=class_of(f"{name.rpartition('.')[0]}.{request}").FromString,
                response_serializer=lambda answer: answer.SerializeToString(),
            )
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {call: handler}),))
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        try:
            yield self
        finally:
            await server.stop(None)

    async def forward(self, request: Any, _: Any) -> Any:
        event = request.envelope.event
        self.events.append((request.envelope.topic, class_of(event.type_url).FromString(event.value)))
        return class_of(EMPTY)()

    async def get_task(self, request: Any, context: Any) -> Any:
        return await self._get(request.container_id, context)

    async def get_sandbox(self, request: Any, context: Any) -> Any:
        return await self._get(request.sandbox_id, context)

    async def get_container(self, request: Any, _: Any) -> Any:
        package, options = "containerd.services.containers.v1", {"pid": 3, "target_id": self.targets.get(request.id)}
        config = {"linux": {"security_context": {"namespace_options": options if options["target_id"] else {"pid": 1}}}}
        kept = json.dumps({"Version": "v1", "Metadata": {"Config": config}}).encode()
        extension = message(
            f"{package}.Extension",
            key="io.cri-containerd.container.metadata",
            value=class_of("google.protobuf.Any")(value=kept),
        )
        container = message(f"{package}.Container", id=request.id, extensions=[extension])
        return message(f"{package}.GetContainerResponse", container=container)

    async def topics(self, *wanted: str) -> None:
        """Wait until exactly these events have come, in this order."""
        await until(lambda: [topic.removeprefix("/tasks/") for topic, _ in self.events] == list(wanted))

    async def _get(self, name: str, context: Any) -> Any:
        if name not in self.known:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{name}: not found")
        return class_of(EMPTY)()


class Bundle:
    """The directory that containerd makes for a container, with its FIFOs."""

    def __init__(self, directory: Path, config: dict[str, Any], sandbox: str) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        (directory / "config.json").write_text(json.dumps(config))
        (directory / "sandbox").write_text(sandbox)
        self.fifos = {name: directory / name for name in ("stdin", "stdout", "stderr")}
        for path in self.fifos.values():
            os.mkfifo(path)

    def streams(self, *names: str) -> dict[str, str]:
        """Return the fields of a request that name FIFOs; all of them unless some are named."""
        return {name: str(self.fifos[name]) for name in names or self.fifos}
