"""A pod of containerd in a machine while containerd is restarted, and while the daemon is killed and started again."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.standins.registry import running_stand_ins
from tests.support import own
from tests.support.conformance_client import Container, Cri, Pod, texts
from tests.support.containerd import Containerd, running_containerd
from tests.support.cri_log import read_log
from tests.support.podman import write_command
from tests.support.restartable import Node, restartable_node
from tests.support.waiting import eventually

CGROUP = f"vmsandbox-oci-again{own.NUMBER}"
COUNTS = "trap 'exit 5' TERM; n=0; while :; do n=$((n + 1)); echo $n; sleep 0.2; done"
DEADLINE = 120.0


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    if os.geteuid() != 0:
        pytest.skip("machines and their networks need root")
    with restartable_node() as made:
        yield made
    for path in Path("/sys/fs/cgroup").glob(f"*/{CGROUP}"):  # A kubelet removes it.
        path.rmdir()


@pytest.fixture(scope="module")
def containerd(node: Node) -> Iterator[Containerd]:
    stand_ins, command = node.directory / "stand-ins", write_command(node.directory, node.directory / "run/oci.sock")
    stand_ins.mkdir()
    with (
        running_stand_ins(stand_ins) as registry,
        running_containerd(node.directory / "containerd", registry, command, "vmsandbox") as running,
    ):
        yield running


@pytest.fixture(scope="module")
def cri(containerd: Containerd, node: Node) -> Iterator[Cri]:
    with Cri.connect(containerd.socket, node.directory / "containerd-logs") as connected:
        yield connected
        connected.remove_everything()


@pytest.fixture(scope="module")
def pod(cri: Cri) -> Pod:
    return cri.run_pod(linux={"cgroup_parent": f"/{CGROUP}"})


@pytest.fixture(scope="module")
def both(pod: Pod) -> list[Container]:
    """The two containers of the pod, which print numbers."""
    return [pod.start("sh", "-c", COUNTS) for _ in range(2)]


def numbers(container: Container) -> list[int]:
    return [int(line) for line in texts(read_log(container.log_file))]


def go_on(containers: list[Container], away: Callable[[], None]) -> None:
    """Assert that containers print while something is away, and afterwards, and that commands run in them."""
    for container in containers:
        eventually(lambda each=container: len(numbers(each)) > 3, DEADLINE)
    away()
    for container in containers:
        printed = len(numbers(container))
        eventually(lambda each=container, seen=printed: len(numbers(each)) > seen + 3, DEADLINE)
        assert container.output("echo", "there") == "there\n"
        assert numbers(container) == sorted(set(numbers(container)))


def test_a_pod_does_not_notice_a_restart_of_containerd(
    containerd: Containerd, cri: Cri, pod: Pod, both: list[Container]
) -> None:
    def restart() -> None:
        containerd.stop()
        containerd.start()
        eventually(lambda: has_recovered(cri), DEADLINE)

    go_on(both, restart)
    printed = [numbers(each) for each in both]
    assert printed == [list(range(1, len(each) + 1)) for each in printed]
    assert pod.status().state == pb.SANDBOX_READY


def has_recovered(cri: Cri) -> bool:
    """Tell whether the CRI of a containerd that has been started answers."""
    try:
        return bool(cri.list_pods())
    except grpc.RpcError:
        return False


def test_a_pod_does_not_notice_that_the_daemon_is_killed(node: Node, both: list[Container]) -> None:
    go_on(both, node.restart)


def test_the_pod_is_measured_with_its_machine_and_a_container_by_its_process_on_the_host(
    cri: Cri, pod: Pod, both: list[Container]
) -> None:
    everything = cri.runtime.PodSandboxStats(pb.PodSandboxStatsRequest(pod_sandbox_id=pod.id)).stats.linux
    filters = {"pod_sandbox_id": pod.id}
    each = cri.runtime.ListContainerStats(pb.ListContainerStatsRequest(filter=filters)).stats
    assert {stats.attributes.id for stats in each} == {container.id for container in both}
    assert everything.memory.usage_bytes.value > 64 << 20 > max(stats.memory.usage_bytes.value for stats in each)


def test_the_guest_says_what_a_container_of_the_pod_uses(node: Node, both: list[Container]) -> None:
    measured = {
        stats.attributes.metadata.name: stats
        for stats in node.cri.runtime.ListContainerStats(pb.ListContainerStatsRequest()).stats
    }
    for container in both:
        assert measured[container.id].cpu.usage_core_nano_seconds.value > 0


def test_containers_are_stopped_by_their_signal_after_all(both: list[Container]) -> None:
    for container in both:
        container.stop(timeout=60)
        assert container.status().exit_code == 5


def test_another_container_joins_and_nothing_is_left(
    node: Node, containerd: Containerd, cri: Cri, pod: Pod, both: list[Container]
) -> None:
    assert pod.run("sh", "-c", "exit 7").status.exit_code == 7
    pod.remove()
    assert node.sandboxes() == set()
    eventually(lambda: subprocess.run(["pgrep", "-f", f"shim.*{containerd.directory}"], check=False).returncode == 1)
