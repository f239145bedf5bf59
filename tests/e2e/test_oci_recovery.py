"""A pod of podman while the daemon is killed and started again."""

import os
import signal
from collections.abc import Iterator

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.standins.images import BUSYBOX
from tests.support.podman import INFRA, Podman, podman_of
from tests.support.restartable import Node, restartable_node
from tests.support.waiting import eventually

COUNTS = "n=0; while :; do n=$((n + 1)); echo $n; sleep 0.2; done"


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    if os.geteuid() != 0:
        pytest.skip("machines and their networks need root")
    with restartable_node() as made:
        yield made


@pytest.fixture(scope="module")
def podman(node: Node) -> Iterator[Podman]:
    with podman_of(node.directory) as made:
        yield made


@pytest.fixture(scope="module")
def pod(podman: Podman) -> str:
    """A pod whose container prints numbers."""
    podman.output("pod", "create", "--name", "both", "--network", "none", *INFRA)
    podman.output("run", "-d", "--pod", "both", "--name", "counts", BUSYBOX, "sh", "-c", COUNTS)
    return "both"


def numbers(podman: Podman) -> list[int]:
    return [int(line) for line in podman.output("logs", "counts").splitlines()]


def test_a_pod_does_not_notice_that_the_daemon_is_killed_and_others_can_still_join_it(
    node: Node, podman: Podman, pod: str
) -> None:
    eventually(lambda: numbers(podman)[-1:] > [3])
    node.restart()
    printed = len(numbers(podman))
    eventually(lambda: len(numbers(podman)) > printed + 3)
    assert podman.output("inspect", "--format", "{{.State.Status}}", "counts") == "running\n"
    assert podman.output("exec", "counts", "echo", "there") == "there\n"
    assert podman.output("run", "--rm", "--pod", pod, BUSYBOX, "hostname") == "both\n"
    assert len(node.sandboxes()) == 1


def test_a_container_whose_process_is_killed_while_the_daemon_is_away_ends(node: Node, podman: Podman) -> None:
    process = int(podman.output("inspect", "--format", "{{.State.Pid}}", "counts"))
    node.end(signal.SIGKILL)
    os.kill(process, signal.SIGKILL)
    eventually(lambda: podman.output("inspect", "--format", "{{.State.ExitCode}}", "counts") == "137\n")
    node.start()
    running = {"state": {"state": pb.CONTAINER_RUNNING}}
    eventually(lambda: len(node.cri.list_containers(**running)) == 1, timeout=120)  # the infra container


def test_nothing_is_left(node: Node, podman: Podman, pod: str) -> None:
    podman.output("pod", "rm", "--force", "--time", "0", pod)
    eventually(lambda: podman.processes() == [])
    assert node.sandboxes() == set()
