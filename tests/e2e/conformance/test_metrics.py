"""The metrics of pods and containers, as a kubelet would pass them on to Prometheus."""

from collections.abc import Iterator

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.e2e.conformance.test_statistics import peer
from tests.support.conformance_client import Container, Cri, Pod, eventually

MIB = 1024 * 1024
LABELS = 6
"""The labels of every metric, before its own."""

Values = dict[str, dict[tuple[str, ...], int]]


def metrics_of(pod: Pod) -> pb.PodSandboxMetrics:
    listed = pod.cri.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest()).pod_metrics
    (found,) = (each for each in listed if each.pod_sandbox_id == pod.id)
    return found


def keys_of(cri: Cri) -> dict[str, list[str]]:
    described = cri.runtime.ListMetricDescriptors(pb.ListMetricDescriptorsRequest()).descriptors
    return {each.name: list(each.label_keys) for each in described}


def values(metrics: object) -> Values:
    found: Values = {}
    for metric in metrics:  # type: ignore[attr-defined]
        found.setdefault(metric.name, {})[tuple(metric.label_values[LABELS:])] = metric.value.value
    return found


def measured(container: Container) -> Values:
    (found,) = (each for each in metrics_of(container.pod).container_metrics if each.container_id == container.id)
    return values(found.metrics)


@pytest.fixture(scope="module")
def limited(pod: Pod) -> Iterator[Container]:
    """A container with limits, that has used up its CPU time and written 3 MiB."""
    resources = {"cpu_period": 100000, "cpu_quota": 20000, "cpu_shares": 512, "memory_limit_in_bytes": 64 * MIB}
    container = pod.start(linux={"resources": resources})
    container.exec(
        "sh", "-c", "dd if=/dev/zero of=/three bs=1048576 count=3; sync; timeout 8 sh -c 'while :; do :; done'"
    )
    yield container
    container.remove()


def test_what_is_measured_is_described_with_as_many_labels(pod: Pod, limited: Container) -> None:
    keys = keys_of(pod.cri)
    found = metrics_of(pod)
    told = [*found.metrics, *(metric for each in found.container_metrics for metric in each.metrics)]
    assert {len(metric.label_values) - len(keys[metric.name]) for metric in told} == {0}
    kernel_keeps_none = {"container_hugetlb_max_usage_bytes"}
    without_huge_pages = {"container_hugetlb_usage_bytes"}  # As the small kernel is.
    assert keys.keys() - {metric.name for metric in told} - without_huge_pages == kernel_keeps_none
    assert len({(metric.name, *metric.label_values) for metric in told}) == len(told)


def test_metrics_are_labelled_with_pod_and_container(pod: Pod, limited: Container) -> None:
    found = metrics_of(pod)
    of_containers = {each.container_id: each.metrics for each in found.container_metrics}
    (metric,) = (each for each in of_containers[limited.id] if each.name == "container_processes")
    labels = dict(zip(keys_of(pod.cri)[metric.name], metric.label_values, strict=True))
    metadata = pod.status().metadata
    assert labels["id"] == limited.id
    assert (labels["container"], labels["image"]) == (limited.config.metadata.name, limited.config.image.image)
    assert (labels["pod"], labels["namespace"]) == (metadata.name, metadata.namespace)
    assert found.metrics[0].label_values[:LABELS] == [pod.id, pod.id, "", "", metadata.name, metadata.namespace]


def test_cpu_time_grows_with_work_and_what_the_limit_forbade_is_told(limited: Container) -> None:
    before = measured(limited)["container_cpu_usage_seconds_total"][("total",)]
    limited.exec("timeout", "10", "sh", "-c", "while :; do :; done")
    after = measured(limited)
    assert after["container_cpu_usage_seconds_total"][("total",)] > before
    assert after["container_cpu_cfs_throttled_periods_total"][()] > 0
    assert after["container_cpu_cfs_throttled_seconds_total"][()] > 0
    limits = {name: after[f"container_spec_cpu_{name}"][()] for name in ("period", "quota", "shares")}
    assert limits == {"period": 100000, "quota": 20000, "shares": 512}


def test_memory_is_told_with_its_limit(limited: Container) -> None:
    found = {name.removeprefix("container_memory_"): each.get((), 0) for name, each in measured(limited).items()}
    assert found["container_spec_memory_limit_bytes"] == 64 * MIB
    assert 0 < found["rss"] < found["usage_bytes"] <= found["max_usage_bytes"] <= 64 * MIB
    assert found["cache"] >= 3 * MIB, "the file that it has written"


def test_what_is_written_is_counted_by_the_disk_and_in_the_layer(limited: Container) -> None:
    found = measured(limited)
    (device,) = found["container_fs_limit_bytes"]
    assert found["container_fs_writes_bytes_total"][device] >= 3 * MIB
    assert 3 * MIB <= found["container_fs_usage_bytes"][device] < 4 * MIB
    assert 0 < found["container_fs_inodes_free"][device] < found["container_fs_inodes_total"][device]


def test_the_writable_layer_is_in_the_statistics_of_a_container(limited: Container) -> None:
    request = pb.ContainerStatsRequest(container_id=limited.id)

    def layer() -> pb.FilesystemUsage | None:
        stats = limited.pod.cri.runtime.ContainerStats(request).stats
        return stats.writable_layer if stats.HasField("writable_layer") else None

    told = eventually(layer)
    assert 3 * MIB <= told.used_bytes.value < 4 * MIB
    assert told.inodes_used.value >= 2
    assert told.fs_id.mountpoint.startswith("/")


def test_processes_and_what_they_have_open_are_counted(pod: Pod) -> None:
    container = pod.start("sh", "-c", "exec 7</etc/passwd 8</etc/group; nc -l -p 9 >/dev/null & exec sleep 1000")

    def counted() -> Values | None:
        found = measured(container)
        return found if found["container_sockets"][()] else None

    found = eventually(counted)
    assert found["container_processes"][()] == found["container_threads"][()] == 2
    assert found["container_file_descriptors"][()] >= 3 + 2 + 3
    assert found["container_threads_max"][()] > 100
    assert found["container_ulimits_soft"][("max_open_files",)] > 0
    container.remove()


def test_what_a_pod_receives_and_sends_is_told_of_its_interface(pod: Pod, waiting: Container) -> None:
    def network() -> dict[str, int]:
        found = values(metrics_of(pod).metrics)
        return {name.removeprefix("container_network_"): each[("eth0",)] for name, each in found.items()}

    before = network()
    with peer(pod, sends=bytes(2 * MIB)) as address:
        waiting.output("sh", "-c", f"true | nc {address} >/dev/null")
    with peer(pod, sends=b"") as address:
        waiting.output("sh", "-c", f"dd if=/dev/zero bs=1048576 count=1 2>/dev/null | nc {address} >/dev/null")
    after = network()
    assert after["receive_bytes_total"] - before["receive_bytes_total"] > 2 * MIB
    assert after["transmit_bytes_total"] - before["transmit_bytes_total"] > MIB
    assert after["receive_packets_total"] > before["receive_packets_total"]
    assert after["receive_errors_total"] == after["transmit_errors_total"] == 0


def test_what_does_not_run_has_no_metrics(cri: Cri, pod: Pod, stopped: Pod) -> None:
    created = pod.create()
    assert created.id not in {each.container_id for each in metrics_of(pod).container_metrics}
    created.remove()
    listed = cri.runtime.ListPodSandboxMetrics(pb.ListPodSandboxMetricsRequest()).pod_metrics
    assert stopped.id not in {each.pod_sandbox_id for each in listed}
