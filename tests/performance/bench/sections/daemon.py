"""The daemon's own part: the CPU time that calls cost its process, and its lists with many pods."""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cri_api.v1 import api_pb2 as pb

from tests.fakes.host import MIB, FakeWorld, app, pod
from tests.performance.bench.figures import HERE, THERE, Report
from tests.performance.bench.runtimes import Runtimes, timed
from tests.support.conformance_client import Cri
from vmsandbox.cri.server import NodeInfo, serving
from vmsandbox.service import RuntimeService
from vmsandbox.state import State

_TICK = os.sysconf("SC_CLK_TCK")
_IDLE = 20.0
"""Seconds in which the daemon has idle pods and no calls."""
_COUNTS = (20, 200)


def cost(both: Runtimes, report: Report) -> None:
    """Measure the CPU time of the daemon's process alone, without the programs that it starts and their machines."""
    daemons = {HERE: _child(both.ours.process.pid), THERE: both.judge.process}
    found: dict[str, list[tuple[str, float]]] = {HERE: [], THERE: []}
    for side, cri in both.each(report.repetitions):
        found[side] += _cost_of_a_pod(cri, daemons[side])
    report.compare("CPU of the daemon's process", found)
    idle: dict[str, list[tuple[str, float]]] = {}
    for side, cri in both.both().items():
        running = [cri.run_pod() for _ in range(3)]
        for each in running:
            each.start()
        used = _cpu(daemons[side], lambda: time.sleep(_IDLE)) / _IDLE / len(running) * 3600
        idle[side] = [("an idle pod, in an hour", used)]
        for each in running:
            each.remove()
    report.compare("CPU of the daemon's process", idle)
    report.note_load()


def _cost_of_a_pod(cri: Cri, daemon: int) -> list[tuple[str, float]]:
    pods = []
    run = _cpu(daemon, lambda: pods.append(cri.run_pod()))
    containers = []
    create = _cpu(daemon, lambda: containers.append(pods[0].create()))
    start = _cpu(daemon, containers[0].start)
    execute = _cpu(daemon, lambda: [containers[0].exec("true") for _ in range(10)]) / 10
    return [
        ("RunPodSandbox", run),
        ("CreateContainer", create),
        ("StartContainer", start),
        ("ExecSync", execute),
        ("RemovePodSandbox", _cpu(daemon, pods[0].remove)),
    ]


def _cpu(process: int, work: Callable[[], object]) -> float:
    """Seconds of user and system time that a process has used meanwhile."""
    before = _used(process)
    work()
    return _used(process) - before


def _used(process: int) -> float:
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICK


def _child(process: int) -> int:
    """The daemon below its tini."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


def lists(report: Report) -> None:
    """Measure the daemon's lists with so many pods of fakes, one container in each."""
    for count in _COUNTS:
        asyncio.run(_lists(report, count))
    report.note_load()


async def _lists(report: Report, count: int) -> None:
    ready = asyncio.get_running_loop().create_future()
    ready.set_result(None)
    with tempfile.TemporaryDirectory(prefix="vms-bench-") as name, State(Path(name) / "state.db") as state:
        directory = Path(name)
        world = FakeWorld(directory)
        node = NodeInfo(("",), lambda: ready, directory / "lib")  # type: ignore[arg-type, return-value]
        async with RuntimeService(world.host(state, memory_budget=1_000_000 * MIB)).running() as service:
            for number in range(count):
                made = await service.run_pod_sandbox(pod(f"pod-{number}"))
                await service.start_container(await service.create_container(made, app()))
            async with serving(service, directory / "cri.sock", node, grace=0):
                await asyncio.to_thread(_ask, directory, report, count)
        await world.transports.aclose()


def _ask(directory: Path, report: Report, count: int) -> None:
    with Cri.connect(directory / "cri.sock", directory) as cri:
        calls: dict[str, Callable[[], object]] = {
            "ListPodSandbox": cri.list_pods,
            "ListContainers": cri.list_containers,
            "ListContainerStats": lambda: cri.runtime.ListContainerStats(pb.ListContainerStatsRequest()),
            "ListPodSandboxStats": lambda: cri.runtime.ListPodSandboxStats(pb.ListPodSandboxStatsRequest()),
        }
        for method, call in calls.items():
            call()
            values = [timed(call) * 1000 for _ in range(max(report.repetitions, 3))]
            report.add("lists, with pods of fakes", f"{method}, {count} pods", "ms", here=values)
