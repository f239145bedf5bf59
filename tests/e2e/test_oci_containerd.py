"""containerd with `vmsandbox-oci` as the runtime of its shim: pods by their handler, beside those of runc; and ctr."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.standins.images import BUSYBOX
from tests.support import own, spdy_client
from tests.support.conformance import Serving
from tests.support.conformance_client import Container, Cri, Pod
from tests.support.containerd import Containerd, running_containerd
from tests.support.podman import write_command
from tests.support.spdy_client import WindowlessSession
from tests.support.waiting import eventually

HOST_KERNEL = os.uname().release
CGROUP = f"vmsandbox-oci-test{own.NUMBER}"
ANSWERS = ("sh", "-c", "trap 'exit 5' TERM; echo out; echo err >&2; while :; do echo hello | nc -l -p 80 & wait; done")
ASKS = "until nc 127.0.0.1 80; do sleep 0.1; done"


@pytest.fixture(scope="module")
def containerd(daemon: Serving) -> Iterator[Containerd]:
    command = write_command(daemon.directory, daemon.directory / "run/oci.sock")
    with running_containerd(daemon.directory / "containerd", daemon.registry, command) as running:
        yield running


@pytest.fixture(scope="module")
def cri(containerd: Containerd, daemon: Serving) -> Iterator[Cri]:
    with Cri.connect(containerd.socket, daemon.directory / "containerd-logs") as connected:
        yield connected
        connected.remove_everything()


@pytest.fixture(scope="module", autouse=True)
def _cgroup() -> Iterator[None]:
    """The cgroup of the pods is removed, as a kubelet does it."""
    yield
    for path in cgroups():
        path.rmdir()


def cgroups() -> list[Path]:
    """Return the cgroup of this test's pods, in every hierarchy."""
    return list(Path("/sys/fs/cgroup").glob(f"*/{CGROUP}"))


@pytest.fixture(scope="module")
def pod(cri: Cri) -> Iterator[Pod]:
    with cri.pod("vmsandbox", hostname="both", linux={"cgroup_parent": f"/{CGROUP}"}) as made:
        yield made


@pytest.fixture(scope="module")
def answers(pod: Pod) -> Container:
    """A container that answers on a port of its pod's localhost."""
    return pod.start(*ANSWERS)


def machines() -> list[int]:
    """Return the QEMUs in the cgroup of this test's pods."""
    found = set()
    for procs in Path("/sys/fs/cgroup").glob(f"*/{CGROUP}/**/cgroup.procs"):
        found |= {int(pid) for pid in procs.read_text().split()}
    return sorted(pid for pid in found if b"qemu-system" in Path(f"/proc/{pid}/cmdline").read_bytes())


def test_containers_of_a_pod_share_a_machine_and_its_localhost(pod: Pod, answers: Container) -> None:
    ended = pod.run("sh", "-c", f"{ASKS}; hostname; uname -r; exit 7")
    said = ended.stdout.splitlines()
    assert (ended.status.exit_code, said[:2]) == (7, ["hello", "both"]) and said[2] != HOST_KERNEL
    assert len(machines()) == 1


def test_output_is_in_the_log(answers: Container) -> None:
    log = eventually(answers.log_file.read_text)
    assert " stdout F out\n" in log and " stderr F err\n" in log


def test_a_command_runs_in_a_container_with_its_own_exit_status(answers: Container) -> None:
    done = answers.exec("sh", "-c", "echo one; echo two >&2; exit 3")
    assert (done.stdout, done.stderr, done.exit_code) == (b"one\n", b"two\n", 3)


async def test_containerd_forwards_a_port_of_the_machines_localhost(pod: Pod, answers: Container) -> None:
    url = str(pod.cri.runtime.PortForward(pb.PortForwardRequest(pod_sandbox_id=pod.id)).url)
    async with spdy_client.port_forward(url, WindowlessSession()) as forward, forward.connect(80) as connection:
        assert await connection.read() == b"hello\n"


def test_the_network_of_the_pod_is_the_machines(pod: Pod, answers: Container) -> None:
    assert f"inet {pod.status().network.ip}/" in answers.output("ip", "address", "show", "eth0")


def test_the_machine_is_measured_with_its_pod(cri: Cri, answers: Container) -> None:
    stats = cri.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=answers.id)).stats
    assert stats.memory.working_set_bytes.value > 0


def test_a_container_is_stopped_by_its_signal_and_another_takes_its_place(pod: Pod, answers: Container) -> None:
    answers.stop(timeout=60)
    assert answers.status().exit_code == 5
    answers.remove()
    assert pod.start(*ANSWERS).status().state == pb.CONTAINER_RUNNING


def test_a_pod_of_runc_runs_beside_it(cri: Cri) -> None:
    with cri.pod(linux={"security_context": {"namespace_options": {"network": "NODE"}}}) as pod:
        assert pod.run("uname", "-r").stdout == f"{HOST_KERNEL}\n"


def test_a_pod_that_shares_processes_sees_them(cri: Cri) -> None:
    shared = {"security_context": {"namespace_options": {"pid": "POD"}}}
    with cri.pod("vmsandbox", linux=shared) as pod:
        security = {"namespace_options": {"pid": "POD"}}
        pod.start("sleep", "12345", security=security)
        assert "sleep 12345" in pod.run("ps", security=security).stdout


def test_a_container_whose_process_on_the_host_is_killed_ends_alone(pod: Pod) -> None:
    container = pod.start()
    [pid] = processes_of(container.id)
    os.kill(pid, signal.SIGKILL)
    assert container.wait().status.exit_code == 137
    assert pod.status().state == pb.SANDBOX_READY


def test_a_container_that_is_killed_for_memory_is_said_to_be(pod: Pod) -> None:
    limits = {"memory_limit_in_bytes": 15 << 20, "memory_swap_limit_in_bytes": 15 << 20}
    status = pod.run("dd", "if=/dev/zero", "of=/dev/null", "bs=20M", linux={"resources": limits}).status
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


def processes_of(container: str) -> list[int]:
    """Return the processes in the cgroup of a container."""
    [procs] = Path("/sys/fs/cgroup").glob(f"memory/{CGROUP}/{container}/cgroup.procs")
    return [int(pid) for pid in procs.read_text().split()]


def test_a_machine_that_dies_ends_the_pod_and_its_containers(cri: Cri, pod: Pod) -> None:
    container = pod.start()
    [machine] = machines()
    os.kill(machine, signal.SIGKILL)
    assert container.wait().status.exit_code == 255
    eventually(lambda: pod.status().state == pb.SANDBOX_NOTREADY)
    with pytest.raises(grpc.RpcError):
        pod.start()


def test_ctr_runs_a_container_in_a_machine(containerd: Containerd, daemon: Serving) -> None:
    options = ("--rm", "--runc-binary", daemon.directory / "vmsandbox-oci")
    containerd.ctr("images", "pull", "--hosts-dir", containerd.directory / "registries", BUSYBOX)
    said = containerd.ctr("run", *options, BUSYBOX, "vmsandbox-oci-test", "uname", "-r")
    assert said.strip() not in ("", HOST_KERNEL)


def test_nothing_is_left(cri: Cri, daemon: Serving) -> None:
    cri.remove_everything()
    assert list((daemon.directory / "run").rglob("sandboxes/*")) == []
    assert [path for cgroup in cgroups() for path in cgroup.iterdir() if path.is_dir()] == []
    assert list(Path("/run/netns").glob("cni-*")) == []
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert [path for path in mounted if path.startswith(f"{daemon.directory}/containerd/state")] == []
    eventually(lambda: subprocess.run(["pgrep", "-f", f"shim.*{daemon.directory}"], check=False).returncode == 1)
