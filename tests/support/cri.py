"""The CRI server on a real Unix socket, in front of the fakes."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from tests.fakes.runtime import FakeImages, FakeRuntime
from vmsandbox.config import MACHINE_HANDLER, DelegateConfig
from vmsandbox.cri.client import CriClient
from vmsandbox.cri.delegation.router import delegating
from vmsandbox.cri.server import NodeInfo, StreamingUrls, serving
from vmsandbox.errors import VmsandboxError
from vmsandbox.model import Image, ImageConfig

IMAGE = Image(
    id="sha256:" + "1" * 64,
    repo_tags=("registry.example/app:1",),
    repo_digests=("registry.example/app@sha256:" + "2" * 64,),
    size=4096,
    config=ImageConfig(user="1002:5", cmd=("run",), stop_signal="SIGQUIT"),
)


@dataclass
class Served:
    """The stubs of a generated client, our own client, and what is behind them."""

    path: Path
    runtime: FakeRuntime
    images: FakeImages
    network_errors: list[VmsandboxError]
    runtime_stub: api_pb2_grpc.RuntimeServiceStub
    image_stub: api_pb2_grpc.ImageServiceStub
    client: CriClient

    async def sandbox(self, name: str = "pod", **labels: str) -> str:
        config = api.PodSandboxConfig(
            metadata=api.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"), labels=labels
        )
        return (await self.runtime_stub.RunPodSandbox(api.RunPodSandboxRequest(config=config))).pod_sandbox_id

    async def container(self, sandbox_id: str, name: str = "main", *, start: bool = True, **fields) -> str:
        self.images.held[IMAGE.id] = IMAGE
        config = api.ContainerConfig(
            metadata=api.ContainerMetadata(name=name), image=api.ImageSpec(image=IMAGE.id), **fields
        )
        request = api.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config)
        container_id = (await self.runtime_stub.CreateContainer(request)).container_id
        if start:
            await self.runtime_stub.StartContainer(api.StartContainerRequest(container_id=container_id))
        return container_id


@contextlib.asynccontextmanager
async def served(
    directory: Path,
    streaming: StreamingUrls | None = None,
    delegate: DelegateConfig | None = None,
    *,
    grace: float = 0,
    first_id: int = 1,
) -> AsyncIterator[Served]:
    images = FakeImages(directory / "images")
    images.directory.mkdir(parents=True)
    (directory / "sandboxes").mkdir()
    runtime = FakeRuntime(images, first_id)
    errors: list[VmsandboxError] = []

    async def network_ready() -> None:
        if errors:
            raise errors[0]

    node = NodeInfo(
        ("", "small", MACHINE_HANDLER), network_ready, directory / "sandboxes", {"state_directory": directory}
    )
    path = directory / "cri.sock"
    async with (
        delegating(delegate or DelegateConfig(), runtime) as delegation,
        serving(runtime, path, node, streaming, delegation, grace=grace),
        grpc.aio.insecure_channel(f"unix:{path}", options=[("grpc.max_receive_message_length", -1)]) as channel,
    ):
        yield Served(
            path,
            runtime,
            images,
            errors,
            api_pb2_grpc.RuntimeServiceStub(channel),
            api_pb2_grpc.ImageServiceStub(channel),
            CriClient(channel),
        )
