"""Containers of podman that share a machine: a pod, and those that join namespaces of another one."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standins.images import BUSYBOX
from tests.support.conformance import Serving
from tests.support.podman import INFRA, Podman
from tests.support.waiting import eventually

ANSWERS = "trap 'exit 5' TERM; while :; do echo of $(hostname) | nc -l -p 80 & wait; done"
ASKS = "until nc 127.0.0.1 80; do sleep 0.1; done"


@pytest.fixture(scope="module")
def pod(podman: Podman) -> Iterator[str]:
    """A pod with one container, which answers on a port of its localhost."""
    podman.output("pod", "create", "--name", "both", "--network", "none", *INFRA)
    podman.output("run", "-d", "--pod", "both", "--name", "answers", "-v", "shared:/v", BUSYBOX, "sh", "-c", ANSWERS)
    yield "both"
    podman.run("pod", "rm", "--force", "--time", "0", "both")


def machines(podman: Podman, infra: str) -> list[int]:
    """Return the QEMUs in the cgroup of a container."""
    [container] = podman.output("inspect", "--format", "{{.Id}}", infra).split()
    found = set()
    for procs in Path("/sys/fs/cgroup").glob(f"*/libpod_parent/*/libpod-{container}/**/cgroup.procs"):
        found |= {int(pid) for pid in procs.read_text().split()}
    return sorted(pid for pid in found if b"qemu-system" in Path(f"/proc/{pid}/cmdline").read_bytes())


def infra_of(podman: Podman, pod: str) -> str:
    return podman.output("pod", "inspect", pod, "--format", "{{.InfraContainerID}}").strip()


def exit_codes(podman: Podman, *containers: str) -> list[str]:
    """Return the state of each container, and its exit status."""
    return podman.output("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", *containers).splitlines()


def test_containers_of_a_pod_talk_over_localhost_and_share_its_name_its_memory_and_its_volumes(
    podman: Podman, pod: str
) -> None:
    podman.output("exec", "answers", "sh", "-c", "echo shared >/dev/shm/f; mkfifo /v/fifo")
    with podman.at_terminal("exec", "answers", "sh", "-c", "echo piped >/v/fifo"):
        script = f"{ASKS}; cat /dev/shm/f /v/fifo; hostname; echo $$"
        said = podman.output("run", "--rm", "--pod", pod, "-v", "shared:/v", BUSYBOX, "sh", "-c", script)
    assert said.splitlines() == ["of both", "shared", "piped", "both", "1"]
    assert len(machines(podman, infra_of(podman, pod))) == 1


def test_a_pod_is_measured_and_listed(podman: Podman, pod: str) -> None:
    measured = json.loads(podman.output("pod", "stats", "--no-stream", "--format", "json", pod))
    assert {each["Name"] for each in measured} == {"answers", f"{podman_pod_id(podman, pod)[:12]}-infra"}
    assert len(podman.output("pod", "top", pod).splitlines()) == 3
    [listed] = json.loads(podman.output("pod", "ps", "--format", "json"))
    assert (listed["Status"], len(listed["Containers"])) == ("Running", 2)


def podman_pod_id(podman: Podman, pod: str) -> str:
    return podman.output("pod", "inspect", pod, "--format", "{{.ID}}").strip()


def test_a_pod_is_stopped_and_started_again(podman: Podman, pod: str) -> None:
    podman.output("pod", "stop", "--time", "10", pod)
    assert exit_codes(podman, "answers", infra_of(podman, pod)) == ["exited 5", "exited 137"]
    podman.output("pod", "start", pod)
    assert podman.output("run", "--rm", "--pod", pod, BUSYBOX, "sh", "-c", ASKS) == "of both\n"


def test_the_other_containers_of_a_pod_end_with_its_infra_container(podman: Podman, pod: str) -> None:
    podman.output("kill", infra_of(podman, pod))
    eventually(lambda: exit_codes(podman, "answers", infra_of(podman, pod)) == ["exited 137"] * 2)


def test_a_machine_that_dies_ends_all_containers_of_its_pod(podman: Podman, pod: str) -> None:
    podman.output("pod", "start", pod)
    [machine] = machines(podman, infra_of(podman, pod))
    os.kill(machine, signal.SIGKILL)
    eventually(lambda: exit_codes(podman, "answers", infra_of(podman, pod)) == ["exited 255"] * 2)


def test_a_pod_is_removed_with_its_containers(podman: Podman, pod: str) -> None:
    podman.output("pod", "start", pod)
    cgroup = f"*/libpod_parent/{podman_pod_id(podman, pod)}"
    assert list(Path("/sys/fs/cgroup").glob(cgroup))
    podman.output("pod", "rm", "--force", "--time", "0", pod)
    assert podman.output("ps", "--all", "--quiet") == ""
    assert list(Path("/sys/fs/cgroup").glob(cgroup)) == []


def test_a_container_that_joins_namespaces_of_another_is_in_its_machine(podman: Podman) -> None:
    podman.output("run", "-d", "--name", "first", "--network", "none", BUSYBOX, "sh", "-c", ANSWERS)
    joins = ("--network", "container:first")
    own = podman.output("run", "--rm", *joins, BUSYBOX, "sh", "-c", f"{ASKS}; ls -A /dev/shm; ps | wc -l").splitlines()
    assert (own[0].split()[0], len(own)) == ("of", 2)
    shared = ("--pid", "container:first", "--ipc", "container:first")
    assert "nc -l -p 80" in podman.output("run", "--rm", *joins, *shared, BUSYBOX, "ps")
    refused = podman.run("run", "--rm", "--network", "none", "--pid", "container:first", BUSYBOX, "true")
    assert refused.returncode == 126 and "share its network" in refused.stderr
    podman.output("rm", "--force", "--time", "0", "first")


def test_nothing_is_left(podman: Podman, daemon: Serving) -> None:
    podman.output("volume", "rm", "--all", "--force")
    eventually(lambda: podman.processes() == [])
    assert list((daemon.directory / "run").rglob("sandboxes/*")) == []
