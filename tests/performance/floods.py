"""How long the calls of a quiet pod take beside pods that flood their host.

    python -m tests.performance.floods [FLOOD ...]     fakes: each agent is a process, no machine runs
    python -m tests.performance.floods machines        real machines, whose containers spin, or run `yes ''`

Prints the median and the p99 of ListPodSandbox and ExecSync, what the p99 is of that of an idle daemon in the same
run, how late the daemon's event loop was, and what the flooding containers could log. It asserts nothing: run it
before and after a change.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from tests.performance.flooded import percentile
from tests.performance.flooding import COMMAND
from tests.support.conformance import Serving, serving

FLOODS = {
    "idle": ("quiet", 0), "lines": ("lines", 1), "yes": ("yes", 1), "four times yes": ("yes", 4),
    "replayed": ("replayed", 1), "exits": ("exits", 1), "large": ("large", 1), "nested": ("nested", 1),
    "answers": ("answers", 1), "chunks": ("chunks", 1), "four times chunks": ("chunks", 4),
}  # fmt: skip
"""The floods and the number of their pods; `tests.performance.flooding` has the floods."""

SECONDS = 6.0
_WITH_MACHINES = 15.0
_MACHINES = 4
_TURNS = 2
_BUSY = {"spinning": ("sh", "-c", "while :; do :; done"), "yes ''": ("yes", "")}
"""The programs of containers in machines."""
_PAUSE = 0.005
_LONGEST = 30.0
"""Seconds until a call is given up; it counts with them."""
_LISTS = 4
"""ListPodSandbox for each ExecSync."""
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Times:
    """Seconds that the calls took."""

    lists: list[float]
    execs: list[float]


def measure(runtime: api_pb2_grpc.RuntimeServiceStub, container_id: str, seconds: float) -> Times:
    """Call for some time, one call after the other."""
    times = Times([], [])
    request = api.ExecSyncRequest(container_id=container_id, cmd=[COMMAND])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(_LISTS):
            times.lists.append(_took(lambda: runtime.ListPodSandbox(api.ListPodSandboxRequest(), timeout=_LONGEST)))
        times.execs.append(_took(lambda: runtime.ExecSync(request, timeout=_LONGEST)))
    return times


def _took(call: Callable[[], object]) -> float:
    time.sleep(_PAUSE)
    begin = time.perf_counter()
    with contextlib.suppress(grpc.RpcError):  # It has waited in vain, which counts as well.
        call()
    return time.perf_counter() - begin


@contextlib.contextmanager
def daemon(directory: Path, flood: str, pods: int) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """`flooded` in a directory; the quiet pod's container, or nothing where the daemon does not come to serve."""
    command = [sys.executable, "-m", "tests.performance.flooded", str(directory), flood, str(pods)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            serves, _, _ = select.select([process.stdout], [], [], _LONGEST)
            yield process.stdout.readline().strip() if serves else "", process
        finally:
            process.kill()  # Its agents end with it.


def with_fakes(names: Sequence[str]) -> None:
    """A line for each flood."""
    idle: Times | None = None
    for name in dict.fromkeys(["idle", *names]):
        with tempfile.TemporaryDirectory(prefix="fl") as place, daemon(Path(place), *FLOODS[name]) as (quiet, process):
            if quiet:
                times, more = _measure_fake(Path(place), quiet, process)
                idle = idle or times
                _print(name, times, idle, more)
            else:
                sys.stdout.write(f"{name:18} the daemon does not come to serve within {_LONGEST:.0f} s\n")


def _measure_fake(directory: Path, quiet: str, process: "subprocess.Popen[str]") -> tuple[Times, str]:
    with grpc.insecure_channel(f"unix:{directory}/cri.sock") as channel:
        before = _logged(directory)
        begin = time.monotonic()
        times = measure(api_pb2_grpc.RuntimeServiceStub(channel), quiet, SECONDS)
        logged = (_logged(directory) - before) / (time.monotonic() - begin) / _MIB
    try:
        told, _ = process.communicate(timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        told = "{}"
    return times, f"{_of_loop(json.loads(told))}; log {logged:.1f} MiB/s"


def _of_loop(told: dict[str, float]) -> str:
    if not told:
        return "the loop does not answer"
    late, worked, most = (told[name] * 1000 for name in ("late", "worked", "most"))
    return f"loop late by {late:.1f} ms, works {worked:.1f} (most {most:.1f}) ms in 5, {told['part']:.0%} of a CPU"


def with_machines() -> None:
    """Idle, and by turns beside four containers that spin without a word and beside four that run `yes ''`.

    Both keep all CPUs busy: the second is to be compared with the first, which shows what emulation alone costs.
    """
    with serving() as cri_daemon:
        cri = cri_daemon.cri
        quiet = cri.run_pod("small").start()
        idle = _measure_machines("idle", cri_daemon, quiet.id, None)
        pods = [cri.run_pod("small") for _ in range(_MACHINES)]
        for _ in range(_TURNS):
            for name, command in _BUSY.items():
                containers = [pod.start(*command) for pod in pods]
                _measure_machines(f"{_MACHINES} of {name}", cri_daemon, quiet.id, idle)
                for container in containers:
                    container.stop(timeout=0)
                    container.remove()


def _measure_machines(name: str, cri_daemon: Serving, quiet: str, idle: Times | None) -> Times:
    logs = cri_daemon.cri.logs
    begin, logged, worked = time.monotonic(), _logged(logs), _worked(cri_daemon.process.pid)
    times = measure(cri_daemon.cri.runtime, quiet, _WITH_MACHINES)
    took = time.monotonic() - begin
    logged, worked = (_logged(logs) - logged) / _MIB, _worked(cri_daemon.process.pid) - worked
    _print(name, times, idle or times, f"daemon took {worked / took:.0%} of a CPU; log {logged / took:.1f} MiB/s")
    return times


def _worked(tini: int) -> float:
    """Seconds of CPU time of the daemon that runs under tini (proc(5), stat)."""
    child = Path(f"/proc/{tini}/task/{tini}/children").read_text().split()[0]
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _logged(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.rglob("*.log"))


def _print(name: str, times: Times, idle: Times, more: str) -> None:
    parts = []
    for call, took, quiet in (("List", times.lists, idle.lists), ("Exec", times.execs, idle.execs)):
        late = percentile(took, 0.99)
        parts.append(
            f"{call} {percentile(took, 0.5) * 1000:6.1f} p99 {late * 1000:7.1f} ({late / percentile(quiet, 0.99):6.1f})"
        )
    sys.stdout.write(f"{name:18} {' | '.join(parts)} | {more}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["machines"]:
        with_machines()
    else:
        with_fakes(sys.argv[1:] or list(FLOODS))
