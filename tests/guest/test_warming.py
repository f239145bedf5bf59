"""A guest that waits makes a container that does nothing, and leaves nothing of it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.guest.client import CONTAINER, Client
from tests.guest.conftest import ROOT, running_agent
from vmsandbox.protocol.messages import ConfigureGuest, ListContainers, StartContainer
from vmsandbox_agent.containers import boots_for_nobody

END_A_HOLDER = """
import asyncio, os
from vmsandbox_agent.reaper import Reaper
from vmsandbox_agent.settings import Settings
from vmsandbox_agent.setup import PodNamespaces

async def make_and_end():
    reaper = Reaper()
    reaper.attach()
    pod = PodNamespaces(Settings(), reaper)
    assert pod.pid().exists()
    await pod.end()

asyncio.run(make_and_end())
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no child")
"""


async def test_the_container_is_made_and_nothing_is_left_of_it(rootfs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with running_agent(rootfs) as directory:
        client = await Client.connect(directory)
        await client.call(ConfigureGuest("pod", time.time_ns()))
        assert "warmed up" not in capfd.readouterr().err
        for number in (1, 2):
            await client.call(ConfigureGuest("waiting", time.time_ns(), waits=True))
            told = capfd.readouterr().err
            assert "warmed up" in told, f"time {number}: {told}"
        assert not (await client.call(ListContainers())).containers
        await client.create("exit 3")
        await client.call(StartContainer(CONTAINER))
        assert (await client.exit()).exit_code == 3
        await client.close()


def test_the_process_that_held_the_pods_namespaces_is_not_a_zombie_in_a_template() -> None:
    """The process in the namespace of the test is PID 1 there, as the agent is in its guest."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", END_A_HOLDER]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/agent:{ROOT}"}
    assert subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout == "no child\n"


@pytest.mark.parametrize(
    ("words", "nobodys"),
    [("console=hvc0 vmsandbox.unclaimed quiet\n", True), ("quiet vmsandbox.unclaimed=no\n", False), ("quiet\n", False)],
)
def test_the_kernels_command_line_tells_for_whom_a_machine_boots(tmp_path: Path, words: str, nobodys: bool) -> None:
    (tmp_path / "cmdline").write_text(words)
    assert boots_for_nobody(tmp_path / "cmdline") is nobodys
