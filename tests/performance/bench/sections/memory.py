"""The memory of the host that an idle pod with a container takes, by its parts."""

import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from tests.performance.bench.figures import HERE, THERE, Report
from tests.performance.bench.runtimes import Runtimes
from tests.performance.proportional import MIB, pss_by_kind
from tests.support.conformance_client import Pod

_PODS = 3
_SETTLED = 15.0
"""Seconds until a pod counts as idle."""
GIVEN = 24 * 1024
"""MiB of memory that is to be filled with pods."""
_PARTS = {
    "guest memory": "guest memory",
    "guest kernel, a file": "guest kernel (file)",
    "translated code": "translated code",
    "private": "QEMU: private",
    "files": "QEMU: program and libraries",
}
"""The parts of QEMU, by the kinds of its mappings."""


def measure(both: Runtimes, report: Report) -> None:
    """Measure some pods, each with a container that waits. What pods share is divided among them."""
    parents = {side: f"/bench-{uuid.uuid4().hex[:8]}" for side in both.both()}
    pods = {
        side: [_pod(cri.run_pod(linux={"cgroup_parent": parents[side]})) for _ in range(_PODS)]
        for side, cri in both.both().items()
    }
    time.sleep(_SETTLED)
    here, there = parts_of(pids_below(parents[HERE])), sum(parts_of(_judge_pids(pods[THERE], parents[THERE])).values())
    for each in (*pods[HERE], *pods[THERE]):
        each.remove()
    report.memory = {name: value / _PODS for name, value in here.items()}
    _tell(report, there / _PODS)
    report.note_load()


def _tell(report: Report, there: float) -> None:
    section, parts = "memory of an idle pod (PSS)", report.memory
    for name, value in parts.items():
        report.add(section, name, "MiB", here=[value])
    whole = sum(parts.values())
    lean = whole - parts.get("translated code", 0)
    report.add(section, "all", "MiB", here=[whole], there=[there])
    report.add(section, "all but translated code", "MiB", here=[lean], there=[there])
    fit, without, theirs = (float(int(GIVEN / each)) for each in (whole, lean, there))
    report.add(section, "pods that fit into 24 GiB", "", here=[fit], there=[theirs])
    report.add(section, "pods that fit into 24 GiB, without translated code", "", here=[without], there=[theirs])


def _pod(pod: Pod) -> Pod:
    pod.start()
    return pod


def parts_of(pids: Iterable[int]) -> dict[str, float]:
    """MiB by part, of all processes together."""
    found: dict[str, float] = {}
    for pid in pids:
        program = Path(f"/proc/{pid}/comm").read_text().strip()
        for kind, size in pss_by_kind(pid).items():
            name = _PARTS[kind] if program.startswith("qemu") else program
            found[name] = found.get(name, 0) + size / MIB
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def pids_below(parent: str) -> list[int]:
    """All processes below a cgroup, whose controller is that of memory."""
    root = Path(f"/sys/fs/cgroup/memory{parent}")
    return sorted({int(pid) for file in root.rglob("cgroup.procs") for pid in file.read_text().split()})


def _judge_pids(pods: Iterable[Pod], parent: str) -> list[int]:
    """The processes of the containers, and the shims that keep them."""
    ids = [pod.id for pod in pods]
    shims = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _keeps(path, ids)]
    return [*pids_below(parent), *shims]


def _keeps(process: Path, ids: Iterable[str]) -> bool:
    try:
        line = (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return "containerd-shim" in line and any(each in line for each in ids)
