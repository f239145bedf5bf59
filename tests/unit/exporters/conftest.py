"""A daemon in miniature: a runtime service in front of fake machines, with its CRI socket and its metrics."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc.aio
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from tests.fakes.host import FakeWorld
from tests.support.scraping import Samples, free_port, scraped
from vmsandbox.config import Config, MetricsConfig, TlsConfig
from vmsandbox.cri.server import NodeInfo, serving
from vmsandbox.exporters import exporting
from vmsandbox.service import RuntimeService
from vmsandbox.state import State

GIB = 1 << 30


@dataclass
class Daemon:
    world: FakeWorld
    service: RuntimeService
    runtime: api_pb2_grpc.RuntimeServiceStub
    images: api_pb2_grpc.ImageServiceStub
    url: str

    async def scraped(self) -> Samples:
        return await scraped(self.url)

    async def run_pod(self, name: str = "web", **metadata: str) -> str:
        pod = api.PodSandboxConfig(metadata=api.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"))
        call = self.runtime.RunPodSandbox(api.RunPodSandboxRequest(config=pod), metadata=tuple(metadata.items()))
        return (await call).pod_sandbox_id


@contextlib.asynccontextmanager
async def daemon_of(world: FakeWorld, config: Config | None = None) -> AsyncIterator[Daemon]:
    """Put a daemon together like `vmsandbox serve`; without a configuration its metrics are on, without TLS."""
    config = config or Config(metrics=MetricsConfig(f"127.0.0.1:{free_port()}", TlsConfig()))
    path, directory = world.directory / "cri.sock", world.directory

    async def ready() -> None:
        pass

    with State(directory / "state.db") as state:
        service = RuntimeService(world.host(state, memory_budget=GIB, boots_in_parallel=2))
        service.recover()
        async with (
            exporting(config, service),
            service.running(),
            serving(service, path, NodeInfo(("",), ready, directory), grace=0),
            grpc.aio.insecure_channel(f"unix:{path}") as channel,
        ):
            url = f"http://{config.metrics.address}/metrics"
            runtime, images = api_pb2_grpc.RuntimeServiceStub(channel), api_pb2_grpc.ImageServiceStub(channel)
            yield Daemon(world, service, runtime, images, url)
