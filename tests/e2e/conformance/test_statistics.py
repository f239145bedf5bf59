"""The usage of pods: machines measured from outside, containers within them."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.e2e.conformance.conftest import PRIVILEGED
from tests.support.conformance_client import Container, Cri, Pod, eventually

MIB = 1024 * 1024
PORT = 18180


def stats_of(pod: Pod) -> pb.PodSandboxStats:
    return pod.cri.runtime.PodSandboxStats(pb.PodSandboxStatsRequest(pod_sandbox_id=pod.id)).stats


def listed(cri: Cri, **filters: object) -> set[str]:
    request = pb.ListPodSandboxStatsRequest(filter=filters)
    return {stats.attributes.id for stats in cri.runtime.ListPodSandboxStats(request).stats}


def refusal(cri: Cri, sandbox_id: str) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        cri.runtime.PodSandboxStats(pb.PodSandboxStatsRequest(pod_sandbox_id=sandbox_id))
    return caught.value.code()


def test_the_cpu_time_of_a_pod_is_what_its_machine_takes(pod: Pod, waiting: Container) -> None:
    before = stats_of(pod).linux.cpu
    waiting.exec("timeout", "3", "sh", "-c", "while :; do :; done")
    after = stats_of(pod).linux.cpu
    used = after.usage_core_nano_seconds.value - before.usage_core_nano_seconds.value
    assert 0.5e9 < used < 3 * (after.timestamp - before.timestamp)


def test_the_memory_of_a_pod_is_that_of_its_guest_and_its_qemu(pod: Pod, waiting: Container) -> None:
    memory = stats_of(pod).linux.memory
    # The guest has 192 MiB and 128 MiB of overhead; QEMU has some 100 MiB, and up to 1 GiB of TCG's translated code.
    assert 64 * MIB < memory.working_set_bytes.value < memory.usage_bytes.value < 2048 * MIB
    assert memory.rss_bytes.value == memory.working_set_bytes.value
    assert memory.page_faults.value > memory.major_page_faults.value


def test_the_containers_of_a_pod_are_those_that_run(pod: Pod, waiting: Container) -> None:
    created = pod.create()
    containers = {each.attributes.id: each for each in eventually(lambda: stats_of(pod).linux.containers)}
    assert waiting.id in containers and created.id not in containers
    assert containers[waiting.id].attributes.metadata == waiting.config.metadata
    assert containers[waiting.id].memory.working_set_bytes.value > 0
    created.remove()


@contextlib.contextmanager
def peer(pod: Pod, *, sends: bytes) -> Iterator[str]:
    """A server on the pod's gateway that sends this to one client, and takes what that sends; yields its address."""
    gateway = pod.status().network.ip.rpartition(".")[0] + ".1"
    with socket.create_server((gateway, PORT)) as listening:
        listening.settimeout(60)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(60)
                connection.sendall(sends)
                while connection.recv(64 * 1024):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"{gateway} {PORT}"
        thread.join()


@pytest.mark.parametrize("direction", ["rx", "tx"])
def test_what_a_pod_receives_and_sends_is_counted_apart(pod: Pod, waiting: Container, direction: str) -> None:
    before = stats_of(pod).linux.network.default_interface
    assert before.name == "eth0"
    with peer(pod, sends=bytes(4 * MIB) if direction == "rx" else b"") as address:
        source = "true" if direction == "rx" else "dd if=/dev/zero bs=1048576 count=4 2>/dev/null"
        waiting.output("sh", "-c", f"{source} | nc {address} >/dev/null")
    after = stats_of(pod).linux.network.default_interface
    received, sent = (getattr(after, name).value - getattr(before, name).value for name in ("rx_bytes", "tx_bytes"))
    mine, other = (received, sent) if direction == "rx" else (sent, received)
    assert 4 * MIB < mine < 5 * MIB
    assert other < MIB, "acknowledgements alone"
    assert after.rx_errors.value == after.tx_errors.value == 0


def test_pods_are_chosen_by_id_and_labels(cri: Cri, pod: Pod, privileged_pod: Pod) -> None:
    other = privileged_pod.id
    assert {pod.id, other} <= listed(cri)
    assert listed(cri, id=other) == listed(cri, id=other[:16]) == {other}
    assert listed(cri, label_selector=PRIVILEGED) == {other}
    assert listed(cri, id=pod.id, label_selector=PRIVILEGED) == set()


def test_what_does_not_run_is_not_measured(cri: Cri, pod: Pod, stopped: Pod) -> None:
    assert pod.id in listed(cri) and stopped.id not in listed(cri)
    assert refusal(cri, stopped.id) is grpc.StatusCode.FAILED_PRECONDITION


def test_what_never_was_is_not_measured(cri: Cri) -> None:
    assert refusal(cri, "absent") is grpc.StatusCode.NOT_FOUND
    assert listed(cri, id="absent") == set()
