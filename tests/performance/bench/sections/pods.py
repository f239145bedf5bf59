"""Calls of pods and containers: one pod at a time, and several at once."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.performance.bench import bare
from tests.performance.bench.figures import HERE, THERE, Report
from tests.performance.bench.runtimes import Runtimes, timed
from tests.performance.bench.spans import calls, median_call
from tests.support.conformance_client import Cri, Pod

T = TypeVar("T")
Times = list[tuple[str, float]]
_TRACED = {
    "RunPodSandbox": (1, 0),
    "CreateContainer": (2, 0),
    "StartContainer": (2, 0),
    "ExecSync": (2, 1),
    "StopPodSandbox": (1, 0),
}
"""How many calls of a method a life has, and which of them is measured."""
BOTH = "Create + StartContainer"


def measure(both: Runtimes, report: Report, at_once: int) -> None:
    """Measure each call of a pod's life, and the same with `at_once` pods side by side."""
    section = f"a pod, {both.source.name}"
    found: dict[str, Times] = {HERE: [], THERE: []}
    bare_boots: list[float] = []
    command = _command(both.ours.cri) if both.source.boots else []
    for side, cri in both.each(report.repetitions):
        both.wait_for_machines()
        found[side] += _life(cri)
        if command and side == HERE:
            bare_boots.append(bare.boot(command))
    report.compare(section, found)
    for method, (count, which) in _TRACED.items():
        spans = calls(both.collector, method, count * report.repetitions)
        report.spans[f"{method}, {both.source.name}"] = median_call(spans[which::count])
    report.note_load()
    crowds: dict[str, Times] = {}
    for side, cri in both.both().items():
        both.wait_for_machines()
        crowds[side] = _crowd(cri, at_once)
    report.compare(section, crowds, f"{at_once} at once: ")
    if command:
        _compare_with_bare(report, found[HERE], bare_boots)
    report.note_load()


def _command(cri: Cri) -> list[str]:
    """The command line of a pod's QEMU."""
    pod = cri.run_pod()
    command = bare.command_of(pod.id)
    pod.remove()
    return command


def _compare_with_bare(report: Report, times: Times, boots: Sequence[float]) -> None:
    """Compare the cold starts with bare boots, each of which came after one of them."""
    starts = [seconds for name, seconds in times if name == "RunPodSandbox"]
    report.add("a cold start", "RunPodSandbox", other="a bare boot", here=starts, there=boots)


def _life(cri: Cri) -> Times:
    """The life of a pod with one container."""
    pod, run = _clocked(cri.run_pod)
    container, create = _clocked(pod.create)
    _, start = _clocked(container.start)
    _, again = _clocked(pod.start)
    container.exec("true")  # the first one reads the program
    return [
        ("RunPodSandbox", run),
        ("CreateContainer", create),
        ("StartContainer", start),
        (BOTH, create + start),
        (f"{BOTH}, the second of the same image", again),
        ("ExecSync", timed(lambda: container.exec("true"))),
        ("StopPodSandbox", timed(pod.stop)),
        ("RemovePodSandbox", timed(pod.remove)),
    ]


def _crowd(cri: Cri, count: int) -> Times:
    """The begin of so many pods at the same moment."""
    with ThreadPoolExecutor(count) as pool:
        begun, whole = _clocked(lambda: list(pool.map(lambda _: _begin(cri), range(count))))
        list(pool.map(Pod.remove, (pod for pod, _ in begun)))
    return [*(each for _, times in begun for each in times), ("until all containers run", whole)]


def _begin(cri: Cri) -> tuple[Pod, Times]:
    pod, run = _clocked(cri.run_pod)
    return pod, [("RunPodSandbox", run), (BOTH, timed(pod.start))]


def _clocked(work: Callable[[], T]) -> tuple[T, float]:
    """The result of work, and the seconds that it took."""
    begin = time.monotonic()
    return work(), time.monotonic() - begin
