"""The life of a pod sandbox."""

import json
import uuid
from collections.abc import Iterator

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.conformance_client import Cri, Pod

LABELS = {"app": "conformance", "io.kubernetes.pod.name": "described"}
ANNOTATIONS = {"example.org/note": "kept as it is"}

TWO_CPUS = {"cpu_quota": 200_000, "cpu_period": 100_000}


@pytest.fixture(scope="module")
def described(cri: Cri) -> Iterator[Pod]:
    with cri.pod(labels=LABELS, annotations=ANNOTATIONS, linux={"resources": TWO_CPUS}) as pod:
        yield pod


def test_a_sandbox_that_runs_is_ready_and_has_an_address(described: Pod) -> None:
    status = described.status()
    assert status.state == pb.SANDBOX_READY
    assert status.created_at > 0
    assert status.network.ip


def test_what_describes_a_sandbox_is_kept(cri: Cri, described: Pod) -> None:
    (listed,) = cri.list_pods(id=described.id)
    for seen in (described.status(), listed):
        assert seen.metadata == described.config.metadata
        assert (dict(seen.labels), dict(seen.annotations)) == (LABELS, ANNOTATIONS)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"label_selector": {"app": "conformance"}}, True),
        ({"label_selector": {"app": "conformance", "tier": "none"}}, False),
        ({"state": {"state": pb.SANDBOX_READY}}, True),
        ({"state": {"state": pb.SANDBOX_NOTREADY}}, False),
    ],
)
def test_sandboxes_are_filtered(cri: Cri, described: Pod, filters: dict[str, object], found: bool) -> None:
    assert (described.id in [pod.id for pod in cri.list_pods(**filters)]) is found


def test_a_sandbox_is_found_by_the_beginning_of_its_id(cri: Cri, described: Pod) -> None:
    assert [pod.id for pod in cri.list_pods(id=described.id[:12])] == [described.id]


def test_a_verbose_status_has_more_to_say(cri: Cri, described: Pod) -> None:
    request = pb.PodSandboxStatusRequest(pod_sandbox_id=described.id, verbose=True)
    assert cri.runtime.PodSandboxStatus(request).info


def test_a_container_has_the_cpus_that_its_pod_declares(cri: Cri, described: Pod) -> None:
    request = pb.PodSandboxStatusRequest(pod_sandbox_id=described.id, verbose=True)
    machine = json.loads(cri.runtime.PodSandboxStatus(request).info["info"])["machine"]
    container = described.start(linux={"resources": TWO_CPUS})
    assert container.output("nproc") == "2\n" and machine["vcpus"] == 2
    assert container.output("cat", "/sys/fs/cgroup/cpu.max") == "200000 100000\n"
    container.remove()


def test_a_name_is_used_once_at_a_time(cri: Cri, described: Pod) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        cri.run_pod_of(described.config)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS


def test_a_sandbox_is_stopped_and_removed_each_of_them_twice(cri: Cri) -> None:
    pod = cri.run_pod()
    container = pod.start()
    pod.stop()
    assert pod.status().state == pb.SANDBOX_NOTREADY
    assert container.status().state == pb.CONTAINER_EXITED
    pod.stop()
    assert pod.status().state == pb.SANDBOX_NOTREADY
    with pytest.raises(grpc.RpcError):
        pod.create()
    pod.remove()
    assert cri.list_pods(id=pod.id) == []
    assert cri.list_containers(pod_sandbox_id=pod.id) == []
    pod.remove()
    with pytest.raises(grpc.RpcError) as caught:
        pod.status()
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_stopping_and_removing_an_unknown_sandbox_succeeds(cri: Cri) -> None:
    unknown = Pod(cri, uuid.uuid4().hex, pb.PodSandboxConfig())
    unknown.stop()
    unknown.remove()


def test_an_unknown_handler_is_refused(cri: Cri) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        cri.run_pod(handler="nobody-configured-this")
    assert "nobody-configured-this" in caught.value.details()


def test_the_hosts_network_is_refused_with_the_reason(cri: Cri) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        cri.run_pod(linux={"security_context": {"namespace_options": {"network": pb.NODE}}})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "host's network" in caught.value.details()
