"""A line of the table of metrics, and what its lines have in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from cri_api.v1 import api_pb2 as api

from vmsandbox.model import ContainerStatus, ContainerUsage
from vmsandbox.protocol.messages import Measures

LABELS = ("id", "name", "image", "container", "pod", "namespace")
"""The labels of every metric, before its own; `id` and `name` are both the id of the container or sandbox."""

COUNTER, GAUGE = api.COUNTER, api.GAUGE

Values: TypeAlias = Mapping[tuple[str, ...], int]
"""Each value under the values of the metric's own labels; none where nothing is known."""

S = TypeVar("S")
"""The type of the measured object."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Metric(Generic[S]):
    """CRI MetricDescriptor, and how the values are read."""

    name: str
    help: str
    kind: "api.MetricType.ValueType"
    read: Callable[[S], Values]
    labels: tuple[str, ...] = ()
    """The metric's own labels, after `LABELS`."""
    counted_at: Callable[[S], int] | None = None
    """When it was counted, in nanoseconds since the epoch (CRI Metric.timestamp); None: as it was asked for."""


@dataclass(frozen=True, slots=True)
class MeasuredContainer:
    """A container that runs, and what it uses."""

    status: ContainerStatus
    usage: ContainerUsage

    @property
    def measures(self) -> Measures:
        """The figures of the guest."""
        return self.usage.measures


def one(value: int | None) -> Values:
    """The values of a metric without labels of its own, of which perhaps nothing is known."""
    return {} if value is None else {(): value}


def of(part: T | None, number: Callable[[T], int | None]) -> Values:
    """Read one number of an object that may be absent, like `one`."""
    return {} if part is None else one(number(part))


def seconds(nanoseconds: int) -> int:
    """Whole ones."""
    return nanoseconds // 1_000_000_000
