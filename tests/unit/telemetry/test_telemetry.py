"""Figures and steps, when somebody takes them and when nobody does."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping

import pytest

from vmsandbox.errors import Unavailable
from vmsandbox.log import within
from vmsandbox.telemetry import (
    Counter,
    Gauge,
    Histogram,
    Sink,
    Step,
    Tracer,
    declared,
    guest_phases,
    outcome,
    phases,
    recording,
    step,
    tracing,
)


class Kept(Sink):
    def __init__(self) -> None:
        self.counts: dict[tuple[str, tuple[str, ...]], float] = {}
        self.seconds: dict[tuple[str, tuple[str, ...]], list[float]] = {}

    def add(self, metric: Counter | Gauge, labels: tuple[str, ...], amount: float) -> None:
        key = metric.name, labels
        self.counts[key] = self.counts.get(key, 0) + amount

    def observe(self, metric: Histogram, labels: tuple[str, ...], seconds: float) -> None:
        self.seconds.setdefault((metric.name, labels), []).append(seconds)


@pytest.fixture
def kept() -> Iterator[Kept]:
    found = Kept()
    with recording(found):
        yield found


def test_without_an_exporter_nothing_is_kept_and_nothing_fails() -> None:
    declared.PULLS.add("ok")
    declared.BOOT_SECONDS.observe(1)
    with step(Step.NETWORK):
        pass


def test_a_step_is_measured_and_its_failure_counts_by_its_code(kept: Kept) -> None:
    with step(Step.NETWORK):
        pass
    with pytest.raises(Unavailable), step(Step.NETWORK):
        raise Unavailable("the plugin has failed")
    ((seconds,),) = kept.seconds.values()
    assert 0 <= seconds < 5
    assert kept.counts == {("vmsandbox_step_failures_total", ("network", "unavailable")): 1}


def test_a_step_that_its_caller_gives_up_has_not_failed(kept: Kept) -> None:
    with contextlib.suppress(asyncio.CancelledError), step(Step.BOOT):
        raise asyncio.CancelledError
    assert (kept.counts, kept.seconds) == ({}, {})


def test_work_counts_by_its_code_and_is_measured_if_it_succeeds(kept: Kept) -> None:
    with outcome("pull", declared.PULLS, declared.PULL_SECONDS):
        pass
    for error in (TimeoutError(), ValueError(), Unavailable(""), asyncio.CancelledError()):
        with contextlib.suppress(BaseException), outcome("pull", declared.PULLS, declared.PULL_SECONDS):
            raise error
    codes = {labels: count for (_, labels), count in kept.counts.items()}
    assert codes == dict.fromkeys([("ok",), ("deadline_exceeded",), ("internal",), ("unavailable",), ("cancelled",)], 1)
    assert [len(seconds) for seconds in kept.seconds.values()] == [1]


class Spans(Tracer):
    """Takes the spans of parts that have ended."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, float, float]] = []

    def call(self, method: str, headers: Mapping[str, str]) -> contextlib.AbstractContextManager[str]:
        return contextlib.nullcontext("")

    def span(self, name: str) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def past(self, name: str, begin: float, end: float) -> None:
        self.taken.append((name, round(begin, 6), round(end, 6)))


@pytest.mark.parametrize(
    ("told", "spans"),
    [
        ({"bundle": 1.0, "crun": 2.0}, [("guest: bundle", 3.5, 2.5), ("guest: crun", 2.5, 0.5)]),
        ({"bundle": 3.0, "crun": 1e9}, [("guest: bundle", 4.0, 1.0), ("guest: crun", 1.0, 0.0)]),
        ({"bundle": 1e9, "crun": 1e9}, [("guest: bundle", 4.0, 0.0), ("guest: crun", 0.0, 0.0)]),
        ({}, []),
    ],
)
def test_a_guest_is_believed_as_far_as_its_times_fit_into_the_time_that_has_passed(
    told: dict[str, float], spans: list[tuple[str, float, float]]
) -> None:
    tracer = Spans()
    with tracing(tracer), within("CreateContainer"):
        guest_phases(told, elapsed=4.0)
    assert tracer.taken == spans


def test_parts_that_have_ended_follow_each_other_up_to_now() -> None:
    tracer = Spans()
    with tracing(tracer):
        phases({"kernel": 3.0})
        with within("RunPodSandbox"):
            phases({"kernel": 3.0, "agent": 1.0})
    assert tracer.taken == [("kernel", 4.0, 1.0), ("agent", 1.0, 0.0)]


@pytest.mark.parametrize("metric", declared.ALL, ids=lambda metric: metric.name)
def test_a_metric_is_named_by_the_conventions(metric: object) -> None:
    assert isinstance(metric, Counter | Gauge | Histogram)
    assert metric.name.startswith("vmsandbox_")
    assert metric.name.endswith("_total") == isinstance(metric, Counter)
    assert metric.name.endswith("_seconds") or not isinstance(metric, Histogram)
    assert metric.help.endswith(".")
    assert not {"pod", "name", "namespace", "id", "uid", "image", "container"} & set(metric.labels)


def test_all_that_is_declared_is_found_by_its_name() -> None:
    named = [value for value in vars(declared).values() if isinstance(value, Counter | Gauge | Histogram)]
    assert tuple(named) == declared.ALL
    assert len({metric.name for metric in named}) == len(named) > 25
