"""`vmsandbox containerd` between a containerd and a daemon that are fakes, over real sockets."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cri_api.v1 import api_pb2

from tests.fakes.oci_runtime import OciRuntime
from tests.support.containerd_client import Bundle, FakeContainerd, ServicesClient
from tests.unit.oci.configs import config, namespaces
from vmsandbox.containerd import roots, serving_containerd
from vmsandbox.containerd.messages import packed
from vmsandbox.oci import host_namespaces, serving_oci

NETWORK = "/run/netns/one"


@dataclass
class World:
    """All that a test needs; `client` is of the process that runs now."""

    directory: Path
    runtime: OciRuntime
    containerd: FakeContainerd
    stack: contextlib.AsyncExitStack
    daemon: contextlib.AsyncExitStack

    async def restart_daemon(self) -> None:
        """End the daemon, and run another one."""
        await self.daemon.aclose()
        await self.daemon.enter_async_context(serving_oci(self.runtime, self.directory / "oci.sock"))

    async def begin(self) -> None:
        """Run the thin process; another one, where one runs."""
        await self.stack.aclose()
        directory = self.directory
        serving = serving_containerd(directory / "kept", directory / "oci.sock", directory / "c.sock")
        socket = await self.stack.enter_async_context(serving)
        self.client = await self.stack.enter_async_context(ServicesClient.connect(socket))

    async def pod(self, **changes: Any) -> None:
        """Make a pod s1, as containerd does it."""
        wanted = api_pb2.PodSandboxConfig(hostname="web", **changes)
        wanted.dns_config.servers.append("10.0.0.10")
        self.containerd.known.add("s1")
        await self.client.sandbox("Create", sandbox_id="s1", options=packed(wanted), netns_path=NETWORK)
        await self.client.sandbox("Start", sandbox_id="s1")

    async def task(self, name: str, *command: str, **changes: Any) -> Bundle:
        """Make a container in the pod s1."""
        process = config()["process"] | {"args": list(command)}
        kinds = namespaces("mount", "pid", network="/proc/7/ns/net", ipc="/proc/7/ns/ipc", uts="/proc/7/ns/uts")
        linux = config()["linux"] | {"namespaces": kinds, "sysctl": {}}
        bundle = Bundle(self.directory / name, config(process=process, linux=linux), "s1")
        self.containerd.known.add(name)
        fields = {"id": name, "bundle": str(bundle.directory), **bundle.streams()} | changes
        await self.client.task("Create", **fields)
        return bundle


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    known: dict[str, host_namespaces.Identity] = {}
    monkeypatch.setattr(host_namespaces, "read_namespace", lambda path: known.setdefault(path, (2, len(known))))
    monkeypatch.setattr(roots, "mount_command", lambda *_: ["true"])
    runtime, containerd = OciRuntime(), FakeContainerd()
    async with (
        containerd.serving(tmp_path / "c.sock"),
        contextlib.AsyncExitStack() as daemon,
        contextlib.AsyncExitStack() as stack,
    ):
        made = World(tmp_path, runtime, containerd, stack, daemon)
        await made.restart_daemon()
        await made.begin()
        yield made
    await runtime.end_all()


@pytest.fixture
def opened() -> Callable[[Path, int], contextlib.AbstractContextManager[int]]:
    """Open a FIFO as containerd does, without waiting for its other end."""

    @contextlib.contextmanager
    def opening(path: Path, flags: int) -> Any:
        fd = os.open(path, flags | os.O_NONBLOCK)
        try:
            yield fd
        finally:
            os.close(fd)

    return opening


async def read_to_end(fd: int) -> bytes:
    """Read a FIFO to its end."""
    found = b""
    while True:
        try:
            data = os.read(fd, 4096)
        except BlockingIOError:
            await asyncio.sleep(0.01)
            continue
        if not data and found:
            return found
        found += data
        await asyncio.sleep(0.01)
