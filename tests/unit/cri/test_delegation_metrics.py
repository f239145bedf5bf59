"""The delegate's metrics among ours: one set of labels for each name."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.delegation.metrics import fit

OOM = "container_oom_events_total"
CPU = "container_cpu_usage_seconds_total"


def fitted(keys: dict[str, tuple[str, ...]], *metrics: tuple[str, list[str], int]) -> list[tuple[str, list[str], int]]:
    """Return the result for one container's metrics."""
    wire = [api.Metric(name=name, label_values=labels, value={"value": value}) for name, labels, value in metrics]
    told = api.ListPodSandboxMetricsResponse(
        pod_metrics=[api.PodSandboxMetrics(container_metrics=[api.ContainerMetrics(metrics=wire)])]
    )
    fit(told, keys)
    found = told.pod_metrics[0].container_metrics[0].metrics
    return [(each.name, list(each.label_values), each.value.value) for each in found]


def test_labels_are_put_in_the_order_of_ours_and_those_that_are_missing_are_empty() -> None:
    keys = {OOM: ("container", "pod", "namespace", "id")}
    assert fitted(keys, (OOM, ["main", "web", "default", "c9"], 3)) == [
        (OOM, ["c9", "", "", "main", "web", "default"], 3),
    ]


def test_a_label_that_we_do_not_have_is_dropped_and_no_two_values_are_left_under_the_same_labels() -> None:
    keys = {CPU: ("id", "cpu", "node")}
    metrics = [(CPU, ["c9", cpu, node], n) for n, (cpu, node) in enumerate(["0a", "0b", "1a"])]
    assert fitted(keys, *metrics) == [
        (CPU, ["c9", "", "", "", "", "", "0"], 0),
        (CPU, ["c9", "", "", "", "", "", "1"], 2),
    ]


def test_what_the_delegate_alone_has_a_name_for_stays_as_it_is() -> None:
    assert fitted({"container_load": ("id",)}, ("container_load", ["c9"], 1)) == [("container_load", ["c9"], 1)]
    assert fitted({"machine_cores": ()}, ("machine_cores", [], 2)) == [("machine_cores", [], 2)]


def test_a_value_that_the_delegate_does_not_describe_is_not_told() -> None:
    """The labels are unknown; without labels, the values of all containers would collide."""
    assert fitted({}, (OOM, ["c9"], 1)) == []
