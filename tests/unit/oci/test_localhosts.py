"""The localhost of a pod's network namespace on the host, whose ports are the machine's: here, those of this host."""

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.fakes.streaming import LocalTargets
from vmsandbox import aio
from vmsandbox.model import ContainerConfig, ContainerMetadata, PodSandboxConfig, PodSandboxMetadata
from vmsandbox.oci.localhosts import Localhosts
from vmsandbox.process import NETWORK, enter

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it makes network namespaces")

SANDBOX = {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "s1"}
MEMBER = SANDBOX | {"io.kubernetes.cri.container-type": "container"}


class Machines(OciRuntime):
    def __init__(self) -> None:
        super().__init__()
        self.targets = LocalTargets()

    def port(self, sandbox_id: str, port: int) -> contextlib.AbstractAsyncContextManager[object]:
        return self.targets.port(sandbox_id, port)


@pytest.fixture
def namespace() -> Iterator[Path]:
    path = Path(f"/run/netns/localhosts-{os.getpid()}")
    subprocess.run(["ip", "netns", "add", path.name], check=True)
    subprocess.run(["ip", "-n", path.name, "link", "set", "lo", "up"], check=True)
    yield path
    subprocess.run(["ip", "netns", "delete", path.name], check=True)


@pytest.fixture
async def server() -> AsyncIterator[int]:
    """A port of the machine that sends back what it is sent."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await writer.drain()

    listening = socket.create_server(("127.0.0.1", 0))
    connections = aio.Connections(echo, "echo")
    async with connections.of(await asyncio.start_server(connections.accept, sock=listening)):
        yield listening.getsockname()[1]


async def container(machines: Machines, namespace: Path, annotations: dict[str, str], sandbox: str = "") -> str:
    pod = PodSandboxConfig(PodSandboxMetadata("s1", "/r", "oci"), network_namespace=str(namespace))
    sandbox = sandbox or await machines.run_pod_sandbox(pod)
    config = ContainerConfig(ContainerMetadata("s1"), image="", command=("sh",), annotations=annotations)
    return await machines.create_container(sandbox, config)


async def ask(namespace: Path, port: int) -> bytes:
    """Send "hello" to a port of the localhost of a namespace, and return what comes back."""

    def talk() -> bytes:
        enter(namespace, NETWORK)
        with socket.create_connection(("127.0.0.1", port), 10) as connected:
            connected.sendall(b"hello")
            connected.shutdown(socket.SHUT_WR)
            return connected.recv(100)

    with ThreadPoolExecutor(1) as thread:
        return await asyncio.get_running_loop().run_in_executor(thread, talk)


async def answered(namespace: Path, port: int) -> bytes:
    """Ask until somebody listens."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                return await ask(namespace, port)
            await asyncio.sleep(0.05)


async def test_a_port_of_the_namespaces_localhost_is_the_machines(namespace: Path, server: int) -> None:
    machines = Machines()
    sandbox = await container(machines, namespace, SANDBOX)
    async with Localhosts(machines).serving(sandbox):
        assert await answered(namespace, server) == b"hello"
        with pytest.raises(OSError):
            await ask(namespace, 2)  # Nobody listens there.
    with pytest.raises(ConnectionRefusedError):
        await ask(namespace, server)


async def test_it_is_served_until_the_last_container_of_the_pod_ends_and_by_the_next_daemon(
    namespace: Path, server: int
) -> None:
    machines = Machines()
    first = await container(machines, namespace, SANDBOX)
    second = await container(machines, namespace, MEMBER, machines.container_status(first).sandbox_id)
    for _ in range(2):
        localhosts = Localhosts(machines)
        async with localhosts.serving(second):
            async with localhosts.serving(first):
                assert await answered(namespace, server) == b"hello"
            assert await ask(namespace, server) == b"hello"


async def test_connections_end_with_the_serving(namespace: Path, server: int) -> None:
    machines = Machines()
    sandbox = await container(machines, namespace, SANDBOX)
    async with Localhosts(machines).serving(sandbox):
        assert await answered(namespace, server) == b"hello"
        with ThreadPoolExecutor(1) as thread:
            stays = await asyncio.get_running_loop().run_in_executor(thread, connected, namespace, server)
    with stays, contextlib.suppress(ConnectionResetError):
        assert await asyncio.to_thread(stays.recv, 100) == b""


def connected(namespace: Path, port: int) -> socket.socket:
    enter(namespace, NETWORK)
    return socket.create_connection(("127.0.0.1", port), 10)


async def test_a_container_without_a_pod_has_nobody_who_looks_there(namespace: Path, server: int) -> None:
    machines = Machines()
    alone = await container(machines, namespace, {})
    async with Localhosts(machines).serving(alone):
        with pytest.raises(ConnectionRefusedError):
            await ask(namespace, server)
    assert "table" not in subprocess.check_output(
        ["nsenter", f"--net={namespace}", "nft", "list", "ruleset"], text=True
    )


async def test_a_namespace_that_is_gone_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    machines = Machines()
    sandbox = await container(machines, tmp_path / "none", SANDBOX)
    async with Localhosts(machines).serving(sandbox), asyncio.timeout(10):
        while "are not on the localhost" not in caplog.text:
            await asyncio.sleep(0.01)
