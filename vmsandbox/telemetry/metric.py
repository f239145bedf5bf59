"""A metric, as it is declared, and the one place that what is recorded goes to."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Bounds of buckets, in seconds, for what should not take long."""

LONG = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0)
"""Bounds of buckets, in seconds, for work."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A figure of the daemon: its name by Prometheus' conventions (base units, `_total` for counters)."""

    kind: ClassVar[str] = "gauge"

    name: str
    help: str
    """One sentence, for the scrape and for docs/metrics.md."""
    labels: tuple[str, ...] = ()


class Gauge(Metric):
    """A value that goes up and down: `add` changes it, or the exporter reads it anew for each scrape."""

    __slots__ = ()

    def add(self, *labels: str, amount: float = 1) -> None:
        """Add `amount`, which may be less than 0, for these values of the labels in their order."""
        if _sink is not None:
            _sink.add(self, labels, amount)


class Counter(Metric):
    """A number that only grows, from the start of the daemon on."""

    __slots__ = ()
    kind: ClassVar[str] = "counter"

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count `amount` more, for these values of the labels in their order."""
        if _sink is not None:
            _sink.add(self, labels, amount)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram(Metric):
    """How long something takes, in seconds: how often it took up to each of the bounds."""

    kind: ClassVar[str] = "histogram"

    buckets: tuple[float, ...] = LONG

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one more that took `seconds`, for these values of the labels in their order."""
        if _sink is not None:
            _sink.observe(self, labels, seconds)


class Sink(Protocol):
    """Takes what is recorded. It is called from any thread, and must return at once."""

    def add(self, metric: Counter | Gauge, labels: tuple[str, ...], amount: float) -> None:
        """See `Counter.add` and `Gauge.add`."""

    def observe(self, metric: Histogram, labels: tuple[str, ...], seconds: float) -> None:
        """See `Histogram.observe`."""


_sink: Sink | None = None


@contextlib.contextmanager
def recording(sink: Sink) -> Iterator[None]:
    """Have `sink` take all that this process records while the context lasts."""
    global _sink  # noqa: PLW0603 - like the handlers of logging, it is the process's
    before, _sink = _sink, sink
    try:
        yield
    finally:
        _sink = before
