"""`vmsandbox serve` is killed and started again while its pods run: nothing of theirs is lost, and nothing comes twice.

The machines are a libvirtd's, which outlives the daemon.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.atomic_writer import make_volume, write
from tests.support.block import MIB, loop_device
from tests.support.conformance_client import Container, Pod, eventually
from tests.support.hostile_pods import come_back, company
from tests.support.libvirt import kill_qemu
from tests.support.restartable import Node, again, restartable_node

if os.geteuid() != 0:
    pytest.skip("machines and their networks need root", allow_module_level=True)

COUNT = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo line $i; done; sleep 1000"


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with restartable_node() as node:
        yield node


@pytest.fixture(scope="module")
def shared(node: Node) -> Iterator[Pod]:
    """The pod that the tests share."""
    yield node.cri.run_pod()


@pytest.fixture
def pod(node: Node, shared: Pod) -> Pod:
    """The shared pod, by the connection of now."""
    return Pod(node.cri, shared.id, shared.config)


def lines(container: Container) -> list[str]:
    path = Path(container.pod.config.log_directory) / container.config.log_path
    return [line.split(" ", 3)[3] for line in path.read_text().splitlines()] if path.exists() else []


def test_a_pod_is_as_it_was_after_the_daemon_was_killed(node: Node, pod: Pod) -> None:
    container = pod.start()
    before = pod.status()
    node.restart()
    container = again(node, container)
    assert container.pod.status() == before
    assert container.status().state == pb.CONTAINER_RUNNING
    assert container.output("echo", "still here") == "still here\n"
    container.remove()
    assert Pod(node.cri, pod.id, pod.config).run("echo", "new").stdout == "new\n"


def test_a_copy_of_the_state_database_that_is_put_back_has_its_pods(node: Node, pod: Pod, tmp_path: Path) -> None:
    """Test the steps that docs/operating.md names."""
    container = pod.start()
    subprocess.run(["sqlite3", node.database, f".backup {tmp_path}/copy.db"], check=True)
    node.end(signal.SIGTERM)
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        node.database.with_name(name).unlink(missing_ok=True)
    subprocess.run(["install", "-m", "600", tmp_path / "copy.db", node.database], check=True)
    node.start()
    container = again(node, container)
    assert container.output("echo", "still here") == "still here\n"
    container.remove()


def test_a_configmap_that_changed_while_there_was_no_daemon_is_the_new_one_and_changes_on(
    node: Node, pod: Pod, tmp_path: Path
) -> None:
    volume = make_volume(tmp_path, {"key": "one"})
    mount = {"container_path": "/etc/config", "host_path": str(volume), "readonly": True}
    container = pod.start(mounts=[mount])
    node.end(signal.SIGKILL)
    write(volume, {"key": "two"})
    node.start()
    container = again(node, container)
    eventually(lambda: container.output("cat", "/etc/config/key") == "two", 10)
    write(volume, {"key": "three"})
    eventually(lambda: container.output("cat", "/etc/config/key") == "three", 10)
    assert " tmpfs " in container.output("grep", " /etc/config ", "/proc/mounts"), "it is shared, and tells of nothing"
    container.remove()


def test_a_volume_is_the_one_that_it_was_after_the_daemon_was_killed(node: Node, pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/lock").touch()
    mounts = [{"host_path": str(tmp_path / "sub"), "container_path": "/v"}]
    container = pod.start("sh", "-c", "meet hold-flock /v/lock; sleep 1000", mounts=mounts)
    eventually(lambda: lines(container) == ["granted"])
    node.restart()
    container = again(node, container)
    for source, lock in ((tmp_path / "sub", "/v/lock"), (tmp_path, "/v/sub/lock")):
        later = container.pod.start(mounts=[{"host_path": str(source), "container_path": "/v"}])
        assert later.output("meet", "try-flock", lock) == "refused\n"
        later.remove()
    container.remove()
    uses = [each for sandbox in node.sandboxes() for each in (sandbox / "uses").glob("*")]
    assert not uses


def test_output_is_neither_lost_nor_repeated_though_the_daemon_is_killed_again_and_again(node: Node, pod: Pod) -> None:
    container = pod.start("sh", "-c", COUNT)
    for count in (100, 1000, 2500):
        eventually(lambda count=count: len(lines(container)) > count)
        node.restart()
    container = again(node, container)
    eventually(lambda: len(lines(container)) >= 4000)
    assert lines(container) == [f"line {number}" for number in range(1, 4001)]
    container.remove()


def test_a_container_that_ended_while_there_was_no_daemon_is_told_as_it_ended(node: Node, pod: Pod) -> None:
    container = pod.start("sh", "-c", "sleep 1; echo last words; exit 7")
    node.end(signal.SIGKILL)
    time.sleep(2)
    node.start()
    container = again(node, container)
    status = eventually(lambda: (s := container.status()).state == pb.CONTAINER_EXITED and s)
    assert (status.exit_code, status.reason, lines(container)) == (7, "Error", ["last words"])
    container.remove()


def test_a_daemon_that_is_asked_to_end_leaves_its_pods_running(node: Node, pod: Pod) -> None:
    container = pod.start()
    node.restart(signal.SIGTERM)
    container = again(node, container)
    assert container.status().state == pb.CONTAINER_RUNNING
    container.remove()


@pytest.mark.parametrize("given_up", [False, True], ids=["waiting", "given up"])
def test_a_daemon_that_is_asked_to_end_while_a_pod_boots_has_given_it_back(node: Node, given_up: bool) -> None:
    before = node.sandboxes()
    call = node.cri.runtime.RunPodSandbox.future(pb.RunPodSandboxRequest(config=node.cri.pod_config()))
    eventually(lambda: call.done() or [each for each in node.sandboxes() - before if (each / "console.sock").exists()])
    if given_up:
        call.cancel()
    node.end(signal.SIGTERM)
    left, log = node.sandboxes() - before, (node.directory / "serve.log").read_text()
    node.start()
    assert not left
    assert "Traceback" not in log


def test_a_daemon_killed_while_a_pod_boots_gives_it_back(node: Node) -> None:
    config = node.cri.pod_config()
    request = pb.RunPodSandboxRequest(config=config)
    before = node.sandboxes()
    call = node.cri.runtime.RunPodSandbox.future(request)
    eventually(lambda: call.done() or [each for each in node.sandboxes() - before if (each / "console.sock").exists()])
    assert not call.done(), call.exception()
    node.restart()
    assert call.exception() is not None
    node.cri.run_pod_of(config).remove()  # It waits until what was being made is given back.
    assert config.metadata.name not in {pod.metadata.name for pod in node.cri.list_pods()}
    assert node.sandboxes() == before


def test_a_machine_that_died_while_there_was_no_daemon_is_told(node: Node) -> None:
    pod = node.cri.run_pod()
    container = pod.start()
    node.end(signal.SIGKILL)
    kill_qemu(f"vmsandbox-{pod.id}")
    node.start()
    container = again(node, container)
    eventually(lambda: container.pod.status().state == pb.SANDBOX_NOTREADY)
    status = container.status()
    assert (status.state, status.exit_code) == (pb.CONTAINER_EXITED, 255)
    assert re.search("ended while the daemon was away", status.message)
    container.pod.remove()


@pytest.mark.timeout(600)
def test_hostile_pods_keep_the_daemon_from_nothing_when_it_comes_back(node: Node) -> None:
    ways = ("floods its output", "cannot be reached", "hangs", "has another agent, with strangers")
    with company(node, 2, ways, "small") as together:
        come_back(together)


def test_a_raw_block_volume_outlives_the_daemon_and_is_given_back_after_it(
    node: Node, pod: Pod, tmp_path: Path
) -> None:
    with loop_device(tmp_path) as device:
        volume = {"devices": [{"container_path": "/dev/xvda", "host_path": str(device.node), "permissions": "mrw"}]}
        container = pod.start(**volume)
        container.output("sh", "-c", "echo before | dd of=/dev/xvda conv=fsync 2>/dev/null")
        node.restart()
        device.grow(12 * MIB)
        container = again(node, container)
        assert container.output("head", "-n1", "/dev/xvda") == "before\n"
        second = container.pod.start(**volume)
        size = "cat /sys/dev/block/$(stat -c %t:%T /dev/xvda | { IFS=: read a b; echo $((0x$a)):$((0x$b)); })/size"
        eventually(lambda: second.output("sh", "-c", size) == f"{12 * MIB // 512}\n", 20)
        second.output("sh", "-c", "echo after >/dev/xvda")
        nodes = [path for sandbox in node.sandboxes() for path in (sandbox / "devices").glob("*")]
        assert [path.stat().st_rdev for path in nodes] == [device.node.stat().st_rdev]
        second.remove()
        container.remove()
        assert not nodes[0].exists()
        assert device.file.read_bytes().startswith(b"after\n")
