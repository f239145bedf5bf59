"""The figures, kept as prometheus-client keeps them. Only a daemon that is asked for metrics imports this."""

from collections.abc import Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from typing_extensions import override

from vmsandbox.telemetry import Counter, Gauge, Histogram, Metric, Sink, declared

Values = Mapping[Gauge, Mapping[tuple[str, ...], float]]
"""The values of gauges now, by the values of their labels."""

_MOST = 1000
"""Series of one metric. All labels have few values; beyond this the defect costs figures, not the daemon's memory."""

_Kept = prometheus_client.Counter | prometheus_client.Gauge | prometheus_client.Histogram


class Figures(Sink):
    """All metrics of `declared`, and those of this process (CPU time, memory, descriptors) by prometheus-client."""

    def __init__(self) -> None:
        """Every figure is 0; those with labels are not there until something is recorded."""
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=False)
        self._kept = {metric: self._keep(metric) for metric in declared.ALL}
        self._series: dict[tuple[Metric, tuple[str, ...]], _Kept] = {}
        self._count = dict.fromkeys(declared.ALL, 0)
        ProcessCollector(registry=self._registry)

    @override
    def add(self, metric: Counter | Gauge, labels: tuple[str, ...], amount: float) -> None:
        series = self._of(metric, labels)
        if isinstance(series, prometheus_client.Counter | prometheus_client.Gauge):
            series.inc(amount)

    @override
    def observe(self, metric: Histogram, labels: tuple[str, ...], seconds: float) -> None:
        series = self._of(metric, labels)
        if isinstance(series, prometheus_client.Histogram):
            series.observe(seconds)

    def render(self, values: Values, accept: str) -> tuple[bytes, str]:
        """Return all metrics and the type of that content, as a scrape accepts it. It takes milliseconds.

        Args:
            values: of the gauges that are read anew; what they had before is gone.
            accept: the header of the scrape.
        """
        for gauge, found in values.items():
            kept = self._kept[gauge]
            assert isinstance(kept, prometheus_client.Gauge)
            if gauge.labels:
                kept.clear()
            for labels, value in found.items():
                (kept.labels(*labels) if labels else kept).set(value)
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _keep(self, metric: Metric) -> _Kept:
        if isinstance(metric, Histogram):
            return prometheus_client.Histogram(
                metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self._registry
            )
        kind = prometheus_client.Counter if isinstance(metric, Counter) else prometheus_client.Gauge
        return kind(metric.name, metric.help, metric.labels, registry=self._registry)

    def _of(self, metric: Metric, labels: tuple[str, ...]) -> _Kept | None:
        """The series of these labels; None: there are too many."""
        series = self._series.get((metric, labels))
        if series is None and self._count[metric] < _MOST:
            self._count[metric] += 1
            kept = self._kept[metric]
            series = self._series[metric, labels] = kept.labels(*labels) if labels else kept
        return series
