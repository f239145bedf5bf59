"""The table of metrics: descriptors and values agree, and every number has its place."""

from dataclasses import replace
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as api
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.measures import measures
from vmsandbox.cri.convert.usage import container_stats_to_cri
from vmsandbox.cri.metrics.metric import MeasuredContainer
from vmsandbox.cri.metrics.to_cri import descriptors, pod_metrics
from vmsandbox.model import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ContainerStatus,
    ContainerUsage,
    InterfaceUsage,
    PodSandboxConfig,
    PodSandboxMetadata,
    Resources,
    SandboxState,
    SandboxStatus,
)
from vmsandbox.protocol.codec import JSON, MalformedMessage, decode, encode
from vmsandbox.protocol.messages import CpuMeasures, DiskMeasures, Measures, MemoryMeasures

SECOND = 1_000_000_000
KEYS = ["id", "name", "image", "container", "pod", "namespace"]
OF_CONTAINER = ["c1", "c1", "registry.example/app:1", "main", "web", "default"]
OF_POD = ["s1", "s1", "", "", "web", "default"]
INTERFACE = InterfaceUsage(20, "eth0", 21, 22, 23, 24, 25, 26, 27, 28)

VALUES = {
    "container_blkio_device_usage_total": {
        ("/dev/sda", "8", "0", "Read"): 33,
        ("/dev/sda", "8", "0", "Write"): 34,
        ("/dev/sdb", "8", "16", "Read"): 43,
        ("/dev/sdb", "8", "16", "Write"): 44,
    },
    "container_cpu_cfs_periods_total": {(): 40},
    "container_cpu_cfs_throttled_periods_total": {(): 2},
    "container_cpu_cfs_throttled_seconds_total": {(): 1},
    "container_cpu_system_seconds_total": {(): 3},
    "container_cpu_usage_seconds_total": {("total",): 7},
    "container_cpu_user_seconds_total": {(): 4},
    "container_file_descriptors": {(): 12},
    "container_fs_inodes_free": {("/dev/sdb",): 65500},
    "container_fs_inodes_total": {("/dev/sdb",): 65536},
    "container_fs_limit_bytes": {("/dev/sdb",): 1 << 30},
    "container_fs_reads_bytes_total": {("/dev/sda",): 33, ("/dev/sdb",): 43},
    "container_fs_reads_total": {("/dev/sda",): 31, ("/dev/sdb",): 41},
    "container_fs_usage_bytes": {("/dev/sdb",): 40960},
    "container_fs_writes_bytes_total": {("/dev/sda",): 34, ("/dev/sdb",): 44},
    "container_fs_writes_total": {("/dev/sda",): 32, ("/dev/sdb",): 42},
    "container_hugetlb_usage_bytes": {("2MB",): 2097152},
    "container_last_seen": {(): 30},
    "container_memory_cache": {(): 1536},
    "container_memory_failcnt": {(): 9},
    "container_memory_failures_total": {
        ("pgfault", "container"): 70,
        ("pgfault", "hierarchy"): 70,
        ("pgmajfault", "container"): 1,
        ("pgmajfault", "hierarchy"): 1,
    },
    "container_memory_kernel_usage": {(): 512},
    "container_memory_mapped_file": {(): 768},
    "container_memory_max_usage_bytes": {(): 5120},
    "container_memory_rss": {(): 2048},
    "container_memory_swap": {(): 64},
    "container_memory_usage_bytes": {(): 4096},
    "container_memory_working_set_bytes": {(): 3072},
    "container_network_receive_bytes_total": {("eth0",): 21},
    "container_network_receive_errors_total": {("eth0",): 23},
    "container_network_receive_packets_dropped_total": {("eth0",): 24},
    "container_network_receive_packets_total": {("eth0",): 22},
    "container_network_transmit_bytes_total": {("eth0",): 25},
    "container_network_transmit_errors_total": {("eth0",): 27},
    "container_network_transmit_packets_dropped_total": {("eth0",): 28},
    "container_network_transmit_packets_total": {("eth0",): 26},
    "container_oom_events_total": {(): 8},
    "container_pressure_cpu_stalled_seconds_total": {(): 5},
    "container_pressure_cpu_waiting_seconds_total": {(): 11},
    "container_pressure_io_stalled_seconds_total": {(): 15},
    "container_pressure_io_waiting_seconds_total": {(): 21},
    "container_pressure_memory_stalled_seconds_total": {(): 10},
    "container_pressure_memory_waiting_seconds_total": {(): 16},
    "container_processes": {(): 2},
    "container_sockets": {(): 6},
    "container_spec_cpu_period": {(): 100000},
    "container_spec_cpu_quota": {(): 20000},
    "container_spec_cpu_shares": {(): 512},
    "container_spec_memory_limit_bytes": {(): 8192},
    "container_spec_memory_reservation_limit_bytes": {(): 256},
    "container_spec_memory_swap_limit_bytes": {(): 128},
    "container_start_time_seconds": {(): 2},
    "container_threads": {(): 5},
    "container_threads_max": {(): 1000},
    "container_ulimits_soft": {("max_open_files",): 1024},
}
WITHOUT_VALUES = {"container_hugetlb_max_usage_bytes"}
MISNAMED = {"container_memory_failcnt", "container_fs_inodes_total"}

LEAST = Measures(
    "c1",
    CpuMeasures(1, 1, 1),
    MemoryMeasures(
        current=1,
        anon=1,
        file=1,
        file_mapped=1,
        inactive_file=1,
        kernel=1,
        page_faults=1,
        major_page_faults=1,
        limit_hits=1,
        oom_kills=0,
    ),
)


def sandbox() -> SandboxStatus:
    pod = PodSandboxConfig(PodSandboxMetadata("web", "uid", "default", 1))
    return SandboxStatus("s1", pod, SandboxState.READY, 1)


def container(measured: Measures, resources: Resources | None = None) -> MeasuredContainer:
    config = ContainerConfig(
        ContainerMetadata("main"), "sha256:ab", "registry.example/app:1", resources=resources or Resources()
    )
    status = ContainerStatus("c1", "s1", config, ContainerState.RUNNING, 1, "sha256:ab", "ref", started_at=2 * SECOND)
    return MeasuredContainer(status, ContainerUsage(30 * SECOND, measured))


def told(
    measured: Measures, resources: Resources | None = None, interface: InterfaceUsage | None = INTERFACE
) -> list[api.Metric]:
    wire = pod_metrics(sandbox(), interface, [container(measured, resources)])
    assert wire.pod_sandbox_id == "s1"
    assert [each.container_id for each in wire.container_metrics] == ["c1"]
    return [*wire.metrics, *wire.container_metrics[0].metrics]


def full() -> list[api.Metric]:
    return told(measures("c1"), Resources(cpu_period=100000, cpu_quota=20000, cpu_shares=512))


def values(metrics: list[api.Metric]) -> dict[str, dict[tuple[str, ...], int]]:
    found: dict[str, dict[tuple[str, ...], int]] = {}
    for metric in metrics:
        found.setdefault(metric.name, {})[tuple(metric.label_values[len(KEYS) :])] = metric.value.value
    return found


def test_every_number_that_is_measured_has_its_place() -> None:
    assert values(full()) == VALUES


def test_every_metric_is_described_once_with_help_and_the_labels_of_all() -> None:
    described = [*descriptors()]
    names = [each.name for each in described]
    assert sorted(names) == sorted({*VALUES, *WITHOUT_VALUES})
    for each in described:
        assert each.help.endswith(".")
        assert list(each.label_keys[: len(KEYS)]) == KEYS


def test_values_have_just_the_labels_of_their_descriptor_and_no_two_have_the_same() -> None:
    keys = {each.name: each.label_keys for each in descriptors()}
    seen = [(metric.name, *metric.label_values) for metric in full()]
    assert len(seen) == len(set(seen))
    for name, *labels in seen:
        assert len(labels) == len(keys[name]) == len(set(keys[name]))


def test_what_the_name_says_to_be_a_total_is_a_counter() -> None:
    for metric in full():
        counts = metric.name.endswith("_total") is (metric.name not in MISNAMED)
        assert (metric.metric_type == api.COUNTER) is counts, metric.name


def test_the_network_is_the_pods_and_the_rest_its_containers() -> None:
    for metric in full():
        whose = OF_POD if metric.name.startswith("container_network_") else OF_CONTAINER
        assert list(metric.label_values[: len(KEYS)]) == whose


def test_what_is_counted_now_and_then_says_when() -> None:
    times = {metric.name: metric.timestamp for metric in full() if metric.timestamp}
    assert times == {"container_fs_usage_bytes": 1_600_000_000 * SECOND}


def test_what_is_not_known_is_left_out() -> None:
    names = set(values(told(LEAST, interface=None)))
    optional = ("cfs", "fs", "blkio", "hugetlb", "pressure", "network", "spec_cpu", "processes", "threads", "ulimits")
    assert not [name for name in names if name.removeprefix("container_").startswith(optional)]
    assert not names & {"container_memory_swap", "container_memory_max_usage_bytes", "container_sockets"}
    assert {"container_cpu_usage_seconds_total", "container_last_seen", "container_oom_events_total"} <= names


def test_no_limit_of_memory_is_nought() -> None:
    found = values(told(LEAST))
    for what in ("limit", "reservation_limit", "swap_limit"):
        assert found[f"container_spec_memory_{what}_bytes"] == {(): 0}


@pytest.mark.parametrize("quota", [0, -1])
def test_an_unlimited_cpu_quota_has_no_value(quota: int) -> None:
    assert "container_spec_cpu_quota" not in values(told(LEAST, Resources(cpu_quota=quota)))


def test_an_image_without_another_name_is_told_by_that_it_was_asked_for() -> None:
    one = container(LEAST)
    config = replace(one.status.config, user_specified_image="", image="registry.example/app@sha256:ab")
    wire = pod_metrics(sandbox(), None, [replace(one, status=replace(one.status, config=config))])
    labels = {metric.label_values[KEYS.index("image")] for metric in wire.container_metrics[0].metrics}
    assert labels == {"registry.example/app@sha256:ab"}


def with_numbers(value: JSON, data: st.DataObject) -> JSON:
    """The same with any other numbers that the protocol lets through."""
    if isinstance(value, dict):
        return {key: with_numbers(each, data) for key, each in value.items()}
    return data.draw(st.integers(0, 2**63 - 1)) if isinstance(value, int) else value


@given(st.data())
def test_whatever_numbers_the_protocol_lets_through_of_a_guest_can_be_told(data: st.DataObject) -> None:
    one = container(decode(Measures, with_numbers(encode(measures("c1")), data)))
    assert pod_metrics(sandbox(), None, [one]).SerializeToString()
    assert container_stats_to_cri(one.status, one.usage, Path("/")).SerializeToString()


@pytest.mark.parametrize("device", ["", "\ud800", "a b", "x" * 65, "\n"])
def test_a_device_whose_name_would_be_no_label_is_refused(device: str) -> None:
    with pytest.raises(MalformedMessage, match="disks"):
        decode(Measures, {**encode(LEAST), "disks": {device: encode(DiskMeasures(1, 1, 1, 1, 1, 1))}})
