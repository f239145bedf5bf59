"""`vmsandbox containerd` with a real daemon and real machines; this test plays containerd."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cri_api.v1 import api_pb2

from tests.support import own
from tests.support.conformance import Serving, serving
from tests.support.containerd_client import Bundle, FakeContainerd, ServicesClient
from tests.support.ready_network import ready_network
from tests.support.rootfs import make_rootfs
from tests.support.waiting import until
from tests.unit.containerd.conftest import read_to_end
from vmsandbox.containerd.messages import class_of, message, packed

NAMESPACE = f"vmsdoorb{own.NUMBER}"
RUNNING = 2
LOST = 255
RECORDED = Path(__file__).parents[1] / "unit/golden/containerd/config.json"
"""A container of containerd 2.1.9."""
ANSWERS = "while :; do echo hello | nc -l -p 8080; done"


@dataclass
class Pod:
    """The pod s1 of a containerd."""

    directory: Path
    daemon: Serving
    containerd: FakeContainerd
    client: ServicesClient

    async def create(self, name: str, script: str) -> Bundle:
        """Make a container of an overlay, as a snapshotter describes it."""
        layers = [self.directory / f"{name}-{part}" for part in ("upper", "work")]
        for layer in layers:
            layer.mkdir()
        options = [f"lowerdir={self.directory}/root", f"upperdir={layers[0]}", f"workdir={layers[1]}"]
        root = message("containerd.types.Mount", type="overlay", source="overlay", options=options)
        wanted = json.loads(RECORDED.read_text())
        wanted["process"]["args"] = ["sh", "-c", script]
        bundle = Bundle(self.directory / name, wanted, "s1")
        self.containerd.known.add(name)
        streams = bundle.streams("stdout", "stderr")
        await self.client.task("Create", id=name, bundle=str(bundle.directory), rootfs=[root], **streams)
        return bundle

    async def output_of(self, name: str, script: str) -> str:
        """Run a container to its end; return what it prints."""
        bundle = await self.create(name, script)
        with reading(bundle.fifos["stdout"]) as stdout:
            await self.client.task("Start", id=name)
            found = await read_to_end(stdout)
        await self.client.task("Wait", id=name)
        await self.client.task("Delete", id=name)
        return found.decode()

    async def state(self, name: str) -> int:
        """Return the state of a container."""
        return int((await self.client.task("State", id=name)).status)


@contextlib.contextmanager
def reading(fifo: Path) -> Iterator[int]:
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.asynccontextmanager
async def thin_process(directory: Path, daemon: Serving) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """Run the thin process, until it is killed or the context is left."""
    options = ["--directory", str(directory / "kept"), "--containerd", str(directory / "c.sock")]
    socket = directory / "kept/containerd.sock"
    socket.unlink(missing_ok=True)
    with (directory / "thin.log").open("ab") as log:
        process = subprocess.Popen(daemon.command_line("containerd", *options), stdout=log, stderr=log)
    try:
        await until(socket.exists, 60)
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Serving]:
    if os.geteuid() != 0:
        pytest.skip("machines and their networks need root")
    with serving() as running:
        yield running


@pytest.fixture
async def pod(daemon: Serving) -> AsyncIterator[Pod]:
    directory = daemon.directory / "played"
    directory.mkdir()
    make_rootfs(directory / "root")
    containerd = FakeContainerd()
    network = ready_network(NAMESPACE, f"10.194.{own.NUMBER}.1", f"10.194.{own.NUMBER}.2")
    async with (
        containerd.serving(directory / "c.sock"),
        ServicesClient.connect(directory / "kept/containerd.sock") as client,
    ):
        with network as path:
            made = Pod(directory, daemon, containerd, client)
            async with thin_process(directory, daemon):
                containerd.known.add("s1")
                wanted = packed(api_pb2.PodSandboxConfig(hostname="played"))
                await client.sandbox("Create", sandbox_id="s1", options=wanted, netns_path=path)
                await client.sandbox("Start", sandbox_id="s1")
            yield made


def machine_of(daemon: Serving) -> int:
    """Return the QEMU of the one machine that the daemon has."""
    found = subprocess.run(
        ["pgrep", "-f", f"qemu-system.*{daemon.directory}"], capture_output=True, text=True, check=True
    )
    (pid,) = found.stdout.split()
    return int(pid)


def command(*words: str) -> Any:
    value = json.dumps({"args": list(words), "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]}).encode()
    return class_of("google.protobuf.Any")(
        type_url="types.containerd.io/opencontainers/runtime-spec/1/Process", value=value
    )


async def test_a_pod_outlives_the_process_that_serves_it_and_ends_with_its_machine(pod: Pod) -> None:
    async with thin_process(pod.directory, pod.daemon) as process:
        await pod.create("answers", ANSWERS)
        await pod.client.task("Start", id="answers")
        asked = await pod.output_of("asks", "until nc 127.0.0.1 8080; do sleep 0.1; done; hostname; echo >/written")
        assert asked.split() == ["hello", "played"]
        assert (pod.directory / "asks-upper/written").exists()
        bounded = await pod.output_of("fills", "head -c 2000000 /dev/zero >/etc/hosts || echo $(wc -c </etc/hosts)")
        assert 0 < int(bounded) <= 1 << 20
        await pod.client.task("Exec", id="answers", exec_id="e", spec=command("sh", "-c", "exit 7"))
        await pod.client.task("Start", id="answers", exec_id="e")
        assert (await pod.client.task("Wait", id="answers", exec_id="e")).exit_status == 7
        metrics = class_of("io.containerd.cgroups.v2.Metrics")
        stats = metrics.FromString((await pod.client.task("Stats", id="answers")).stats.value)
        assert stats.memory.usage and stats.cpu.usage_usec
        process.kill()
        process.wait()
    async with thin_process(pod.directory, pod.daemon):
        assert await pod.state("answers") == RUNNING
        assert (await pod.client.sandbox("Status", sandbox_id="s1")).state == "SANDBOX_READY"
        assert (await pod.output_of("again", "nc 127.0.0.1 8080")).split() == ["hello"]
        waiting = asyncio.create_task(pod.client.sandbox("Wait", sandbox_id="s1"))
        os.kill(machine_of(pod.daemon), signal.SIGKILL)
        await waiting
        assert (await pod.client.task("Wait", id="answers")).exit_status == LOST
        assert (await pod.client.sandbox("Status", sandbox_id="s1")).state == "SANDBOX_NOTREADY"
        await pod.client.task("Delete", id="answers")
        await pod.client.sandbox("Shutdown", sandbox_id="s1")
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if str(pod.directory) in line]
    assert list((pod.directory / "kept").glob("*/*/*")) == []
