"""Machines and containers of the host behind one socket: `vmsandbox serve` with a real containerd as its delegate."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.standins.images import BUSYBOX
from tests.standins.registry import running_stand_ins
from tests.support import leftovers
from tests.support.conformance import Serving, serving
from tests.support.conformance_client import Container, Cri, Pod, eventually
from tests.support.containerd import Containerd, running_containerd

HOST_KERNEL = os.uname().release


def security(**namespaces: str) -> dict[str, object]:
    return {"security_context": {"namespace_options": namespaces}}


HOST_NETWORK = security(network="NODE")
MEASURED = {"measured": "yes"}
"""The label of pods that containerd 1.6 can measure: without a cgroup parent it cannot, and its whole list fails."""


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    if os.geteuid() != 0:
        pytest.skip("containers of the host need root")
    directory = tmp_path_factory.mktemp("delegate")
    (directory / "registry").mkdir()
    with (
        running_stand_ins(directory / "registry") as registry,
        running_containerd(directory / "containerd", registry) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def daemon(containerd: Containerd) -> Iterator[Serving]:
    with serving({"delegate": {"socket": str(containerd.socket), "handlers": ["runc"]}}) as running:
        yield running


@pytest.fixture(scope="module")
def cri(daemon: Serving) -> Cri:
    return daemon.cri


@pytest.fixture(scope="module")
def host_pod(cri: Cri) -> Iterator[Pod]:
    """A pod in the host's network."""
    with cri.pod(linux=HOST_NETWORK) as pod:
        yield pod


@pytest.fixture(scope="module")
def on_host(host_pod: Pod) -> Container:
    """A container of it that waits."""
    return host_pod.start("sh", "-c", "echo from the host; exec sleep 3600", linux=HOST_NETWORK)


@pytest.fixture(scope="module")
def in_machine(cri: Cri) -> Iterator[Container]:
    with cri.pod(labels=MEASURED) as pod:
        yield pod.start()


def vmsandbox(daemon: Serving, *arguments: str) -> str:
    line = daemon.command_line(*arguments)
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pod_in_the_hosts_network_sees_what_listens_there(on_host: Container) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert f"127.0.0.1:{listening.getsockname()[1]} " in on_host.output("netstat", "-ltn")


def test_a_pod_in_the_hosts_network_is_not_a_machine_and_one_beside_it_is(
    on_host: Container, in_machine: Container
) -> None:
    assert on_host.output("uname", "-r").strip() == HOST_KERNEL
    assert in_machine.output("uname", "-r").strip() != HOST_KERNEL


def test_a_runtime_class_of_the_delegate_has_its_network(cri: Cri) -> None:
    with cri.pod("runc") as pod:
        assert pod.status().network.ip.startswith("10.196.")
        assert pod.start().output("uname", "-r").strip() == HOST_KERNEL


def test_a_runtime_class_of_machines_does_not_leave_for_the_hosts_network(cri: Cri) -> None:
    for handler in ("vmsandbox", "small"):
        with pytest.raises(grpc.RpcError) as refused:
            cri.run_pod(handler, linux=HOST_NETWORK)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_pod_can_have_the_hosts_ipc(cri: Cri) -> None:
    made = subprocess.run(["ipcmk", "-M", "1000"], capture_output=True, text=True, check=True).stdout.split()[-1]
    try:
        with cri.pod(linux=security(ipc="NODE")) as pod:
            segments = pod.start(linux=security(ipc="NODE")).output("ipcs", "-m").splitlines()
        assert [line for line in segments if line.split()[1:2] == [made]]
    finally:
        subprocess.run(["ipcrm", "-m", made], check=True)


def test_both_are_listed_and_described_by_one_command_line(
    daemon: Serving, on_host: Container, in_machine: Container
) -> None:
    listed = json.loads(vmsandbox(daemon, "ps", "--output", "json"))
    assert {on_host.id, in_machine.id} <= {container["id"] for container in listed}
    for container in (on_host, in_machine):
        assert json.loads(vmsandbox(daemon, "inspect", container.id))
        assert json.loads(vmsandbox(daemon, "inspect", container.pod.id))


def test_commands_and_logs_of_a_container_on_the_host_come_through_the_same_socket(
    daemon: Serving, on_host: Container
) -> None:
    assert vmsandbox(daemon, "exec", on_host.id, "echo", "hello") == "hello\n"
    assert vmsandbox(daemon, "logs", on_host.id) == "from the host\n"


def test_what_pods_of_both_runtimes_use_is_listed_together(cri: Cri, in_machine: Container) -> None:
    with cri.pod("runc", labels=MEASURED, linux={"cgroup_parent": "/"}) as pod:
        container = pod.start()
        request = pb.ListPodSandboxStatsRequest(filter={"label_selector": MEASURED})
        listed = {each.attributes.id: each.linux for each in cri.runtime.ListPodSandboxStats(request).stats}
        assert listed.keys() == {pod.id, in_machine.pod.id}
        for each in (container, in_machine):
            assert listed[each.pod.id].cpu.usage_core_nano_seconds.value > 0
            assert each.id in [found.attributes.id for found in listed[each.pod.id].containers]


def test_metrics_of_machines_are_told_beside_a_delegate_that_has_none(cri: Cri, in_machine: Container) -> None:
    listed = cri.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest()).pod_metrics
    (pod,) = listed  # containerd 1.6 does not know the call
    assert pod.pod_sandbox_id == in_machine.pod.id
    assert in_machine.id in {each.container_id for each in pod.container_metrics}
    assert cri.runtime.ListMetricDescriptors(pb.ListMetricDescriptorsRequest()).descriptors


def test_following_a_log_ends_with_its_container_on_the_host(daemon: Serving, host_pod: Pod) -> None:
    ending = host_pod.start("sh", "-c", "echo first; sleep 2; echo last", linux=HOST_NETWORK)
    assert vmsandbox(daemon, "logs", "--follow", ending.id) == "first\nlast\n"


def test_an_image_that_was_pulled_for_machines_serves_a_container_on_the_host(cri: Cri, host_pod: Pod) -> None:
    cri.remove_image(BUSYBOX)
    cri.pull(BUSYBOX)
    listed = [image for image in cri.list_images() if BUSYBOX in image.repo_tags]
    assert len(listed) == 1
    assert host_pod.start("true", image=listed[0].id, linux=HOST_NETWORK).wait().status.exit_code == 0


def test_what_neither_runtime_knows_has_ended(cri: Cri) -> None:
    for call, request in (
        (cri.runtime.StopPodSandbox, pb.StopPodSandboxRequest(pod_sandbox_id="absent")),
        (cri.runtime.RemovePodSandbox, pb.RemovePodSandboxRequest(pod_sandbox_id="absent")),
        (cri.runtime.StopContainer, pb.StopContainerRequest(container_id="absent")),
        (cri.runtime.RemoveContainer, pb.RemoveContainerRequest(container_id="absent")),
    ):
        call(request)


def test_containers_of_the_host_outlive_a_restart_of_their_runtime(
    cri: Cri, containerd: Containerd, on_host: Container, in_machine: Container
) -> None:
    containerd.stop()
    with pytest.raises(grpc.RpcError) as away:
        cri.list_pods()
    assert away.value.code() == grpc.StatusCode.UNAVAILABLE
    assert str(containerd.socket) in away.value.details()
    assert in_machine.output("echo", "still there") == "still there\n"
    containerd.start()
    found = eventually(lambda: _list(cri))
    assert {on_host.id, in_machine.id} <= found
    assert on_host.output("echo", "still there") == "still there\n"


def _list(cri: Cri) -> set[str]:
    try:
        return {container.id for container in cri.list_containers()}
    except grpc.RpcError:
        return set()


def test_the_node_is_ready_with_the_handlers_of_both(cri: Cri) -> None:
    status = cri.runtime.Status(pb.StatusRequest())
    assert all(condition.status for condition in status.status.conditions)
    assert {handler.name for handler in status.runtime_handlers} == {"", "vmsandbox", "small", "debugged", "runc"}


def test_nothing_of_the_delegates_pods_is_left(daemon: Serving, containerd: Containerd) -> None:
    before = _shims()
    with daemon.cri.pod(linux=HOST_NETWORK) as pod:
        pod.start(linux=HOST_NETWORK)
        assert len(_shims()) > len(before)
    eventually(lambda: _shims() == before)
    tasks = Path(containerd.directory, "state/io.containerd.runtime.v2.task/k8s.io")
    assert pod.id not in [path.name for path in tasks.iterdir()]


def _shims() -> set[str]:
    return {name for name in leftovers.resources() if "containerd-shim" in name}
