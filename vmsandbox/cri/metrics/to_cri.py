"""Descriptors and values, from the one table; and its part on what pods receive and send."""

from collections.abc import Callable, Iterable, Iterator

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.metrics.computing import CPU, MEMORY, PRESSURE
from vmsandbox.cri.metrics.metric import COUNTER, LABELS, MeasuredContainer, Metric, S
from vmsandbox.cri.metrics.processes import LIMITS, PROCESSES
from vmsandbox.cri.metrics.storage import STORAGE
from vmsandbox.model import ContainerConfig, InterfaceUsage, SandboxStatus


def _both(name: str, what: str, counted: str) -> Iterator[Metric[InterfaceUsage]]:
    def reading(field: str) -> Callable[[InterfaceUsage], dict[tuple[str, ...], int]]:
        return lambda usage: {(usage.name,): getattr(usage, field)}

    for direction, came, field in (("receive", "came to", "rx"), ("transmit", "were sent by", "tx")):
        yield Metric(
            f"container_network_{direction}_{name}_total",
            f"{what.format(came)} the pod.",
            COUNTER,
            reading(f"{field}_{counted}"),
            ("interface",),
        )


NETWORK: tuple[Metric[InterfaceUsage], ...] = (
    *_both("bytes", "Bytes that {}", "bytes"),
    *_both("packets", "Packets that {}", "packets"),
    *_both("errors", "Packets with errors that {}", "errors"),
    *_both("packets_dropped", "Packets that were dropped of those that {}", "dropped"),
)


CONTAINER: tuple[Metric[MeasuredContainer], ...] = (*CPU, *MEMORY, *PRESSURE, *STORAGE, *PROCESSES, *LIMITS)
POD: tuple[Metric[InterfaceUsage], ...] = NETWORK


def descriptors() -> Iterator[api.MetricDescriptor]:
    """All that there are, whether or not anything is measured now: a kubelet asks once, when it starts."""
    yield from _descriptors(CONTAINER)
    yield from _descriptors(POD)


def _descriptors(table: Iterable[Metric[S]]) -> Iterator[api.MetricDescriptor]:
    for metric in table:
        yield api.MetricDescriptor(name=metric.name, help=metric.help, label_keys=(*LABELS, *metric.labels))


def pod_metrics(
    sandbox: SandboxStatus, interface: InterfaceUsage | None, containers: Iterable[MeasuredContainer]
) -> api.PodSandboxMetrics:
    """Convert the metrics of a sandbox, its interface (None if it is unknown) and its running containers."""
    where = (sandbox.config.metadata.name, sandbox.config.metadata.namespace)
    mine = () if interface is None else _values(POD, interface, (sandbox.id, sandbox.id, "", "", *where))
    return api.PodSandboxMetrics(
        pod_sandbox_id=sandbox.id,
        metrics=mine,
        container_metrics=(_container_metrics(container, where) for container in containers),
    )


def _container_metrics(container: MeasuredContainer, where: tuple[str, str]) -> api.ContainerMetrics:
    status = container.status
    labels = (status.id, status.id, _image(status.config), status.config.metadata.name, *where)
    return api.ContainerMetrics(container_id=status.id, metrics=_values(CONTAINER, container, labels))


def _image(config: ContainerConfig) -> str:
    """The name that the pod's author gave, rather than an id."""
    return config.user_specified_image or config.image


def _values(table: Iterable[Metric[S]], measured: S, labels: tuple[str, ...]) -> Iterator[api.Metric]:
    for metric in table:
        for own, value in metric.read(measured).items():
            yield api.Metric(
                name=metric.name,
                timestamp=metric.counted_at(measured) if metric.counted_at else 0,
                metric_type=metric.kind,
                label_values=(*labels, *own),
                value=api.UInt64Value(value=value),
            )
