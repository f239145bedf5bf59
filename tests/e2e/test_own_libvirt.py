"""`libvirt: auto` on a host on which no libvirtd answers: one of our own, which outlives the daemon.

The first tests need no machine.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.standins.registry import registries_conf, running_stand_ins
from tests.support import conformance
from tests.support.accelerators import keep_findings, share_findings
from tests.support.libvirt import qemu_runs
from tests.support.restartable import Node, again
from tests.support.unit import remove_devices
from tests.support.waiting import eventually, until_blocking
from vmsandbox.hypervisor.libvirt import LibvirtHypervisor
from vmsandbox.node import own_libvirt
from vmsandbox.node.libvirt import SYSTEM_RUN, answers
from vmsandbox.node.own_libvirt import OwnLibvirt

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a libvirtd needs root"),
    pytest.mark.skipif(answers(SYSTEM_RUN / "libvirt-sock"), reason="this host has a libvirtd"),
]


@pytest.fixture
def own() -> Iterator[OwnLibvirt]:
    with conformance._private_directory() as directory:
        own = OwnLibvirt(directory / "run/libvirt", directory / "run/serve")
        yield own
        eventually(lambda: not own.is_alive(), 20)
        assert mounts_below(directory) == []


def mounts_below(directory: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line]


def pid_in(own: OwnLibvirt, file: str) -> int:
    """Return a process id that a file has; 0 while it is being written."""
    words = (own.directory / file).read_text().split()
    return int(words[0]) if words else 0


def session_of(pid: int) -> set[int]:
    """The processes of the session that a process is in."""
    everyone = (int(directory.name) for directory in Path("/proc").glob("[0-9]*"))
    return {each for each in everyone if os.getsid(each) == os.getsid(pid)}


async def answers_calls(own: OwnLibvirt) -> bool:
    async with LibvirtHypervisor.open(own.uri, own.ensure) as hypervisor:
        return await hypervisor.list_names() == ()


async def test_it_is_started_once_however_many_want_it_and_ends_with_the_last(own: OwnLibvirt) -> None:
    async with contextlib.AsyncExitStack() as last:
        async with contextlib.AsyncExitStack() as first:
            users = [first.enter_async_context(own.used()) for _ in range(3)]
            await asyncio.gather(last.enter_async_context(own.used()), *users)
            pid = pid_in(own, "run/libvirtd.pid")
            assert await answers_calls(own)
        assert own.is_alive()
        assert pid_in(own, "run/libvirtd.pid") == pid
    assert not own.is_alive()


async def test_it_comes_again_when_it_is_killed(own: OwnLibvirt) -> None:
    async with own.used():
        killed = pid_in(own, "run/libvirtd.pid")
        os.kill(killed, signal.SIGKILL)
        await until_blocking(lambda: pid_in(own, "run/libvirtd.pid") not in (0, killed) and answers(own._socket), 20)
        os.kill(pid_in(own, "pid"), signal.SIGKILL)  # Its init, as when memory runs out; `ensure` begins anew.
        os.kill(pid_in(own, "run/libvirtd.pid"), signal.SIGTERM)
        await until_blocking(lambda: not own.is_alive(), 20)
        await own.ensure()
        assert await answers_calls(own)
        logging = pid_in(own, "run/virtlogd.pid")
        for pid in session_of(logging) - {logging}:  # Then nobody ends its virtlogd, which holds its lock.
            os.kill(pid, signal.SIGKILL)
        await until_blocking(lambda: not answers(own._socket), 20)
        await own.ensure()
        assert await answers_calls(own) and pid_in(own, "run/virtlogd.pid") != logging


async def test_it_ends_by_itself_when_those_who_used_it_were_killed(
    own: OwnLibvirt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_libvirt, "IDLE", 1)
    own._make_directories()
    await own.ensure()
    await until_blocking(lambda: not own.is_alive(), 20)
    async with own.used():  # It takes its directory over, and tidies up in the end.
        assert own.is_alive()


def test_under_the_unit_none_is_started_and_the_error_says_what_the_unit_needs(tmp_path: Path) -> None:
    settings = {"libvirt": "auto", "run_directory": str(tmp_path / "run"), "state_directory": str(tmp_path / "state")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "vmsandbox", "--config", str(tmp_path / "config.yaml"), "serve"]
    under_the_unit = [sys.executable, "-m", "tests.support.unit", *command]
    with subprocess.Popen(under_the_unit, stderr=subprocess.PIPE, text=True) as process:
        _, said = process.communicate()
    remove_devices(process.pid)
    assert process.returncode == 1
    assert "NoNewPrivileges" in said
    assert "libvirt-daemon-system" in said
    assert not (tmp_path / "run/libvirtd/alive.lock").exists()


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A daemon with the default for `libvirt`."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(conformance._private_directory())
        (directory / "registry").mkdir()
        share_findings(directory / "state")
        registry = stack.enter_context(running_stand_ins(directory / "registry"))
        (directory / "registries.conf").write_text(registries_conf(registry))
        node = Node(directory)
        node.configure(**{**conformance.configuration(directory), "libvirt": "auto"})
        stack.callback(subprocess.run, ["ip", "link", "delete", conformance.BRIDGE], check=False)
        node.start()
        keep_findings(directory / "state")
        yield node
        node.close()
        assert not OwnLibvirt(directory / "run/libvirtd", directory / "run/serve").is_alive()
        assert mounts_below(directory) == []


def test_a_pod_survives_its_daemon_and_is_taken_back_from_the_same_libvirtd(node: Node) -> None:
    libvirtd = node.directory / "run/libvirtd/run/libvirtd.pid"
    container = node.cri.run_pod().start()
    before = libvirtd.read_text()
    node.end(signal.SIGKILL)
    assert qemu_runs(f"vmsandbox-{container.pod.id}")
    node.start()
    assert libvirtd.read_text() == before
    assert again(node, container).output("echo", "still here") == "still here\n"
    node.restart(signal.SIGTERM)  # Machines keep it also when the daemon ends well.
    assert libvirtd.read_text() == before
    assert again(node, container).output("echo", "still here") == "still here\n"
