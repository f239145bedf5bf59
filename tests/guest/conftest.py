"""The agent on the host, one process for each test module's tests, a fresh one for each test that asks."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guest.client import Client
from tests.support.rootfs import make_rootfs

ROOT = Path(__file__).parents[2]

if os.geteuid() != 0:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def rootfs() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vmsandbox-rootfs-") as directory:
        yield make_rootfs(Path(directory) / "rootfs")


@contextmanager
def running_agent(rootfs: Path, *options: str, checkout: Path = ROOT) -> Iterator[Path]:
    """An agent of a checkout, and the directory of its sockets; its path is short, as sockets' paths must be."""
    with tempfile.TemporaryDirectory(prefix="vmsandbox-agent-") as directory:
        Path(directory).chmod(0o711)  # The root of a user namespace passes through it.
        namespaces = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        command = ["unshare", *namespaces, sys.executable, "-W", "error", "-m"]
        agent = subprocess.Popen(
            [*command, "tests.guest.agent_on_host", directory, str(rootfs), *options],
            stdout=subprocess.PIPE,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": f"{checkout}/agent:{checkout}"},
        )
        assert agent.stdout is not None
        try:
            assert agent.stdout.readline() == b"ready\n"
            yield Path(directory)
        finally:
            _kill_namespace_of(agent)
            agent.wait()
            agent.stdout.close()


def _kill_namespace_of(unshare: "subprocess.Popen[bytes]") -> None:
    """Kill PID 1 of the namespace, not unshare(1), which waits for it: when it has ended, so has all in its namespace.

    Killed itself, unshare would end first, while something still writes into the directory that is removed next.
    """
    for child in Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


@pytest.fixture
def agent(rootfs: Path) -> Iterator[Path]:
    with running_agent(rootfs) as directory:
        yield directory


@pytest.fixture
async def client(agent: Path) -> AsyncIterator[Client]:
    client = await Client.connect(agent)
    yield client
    await client.close()
