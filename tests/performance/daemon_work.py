"""The work that calls give the daemon: its system calls, its database writes, its threads, and where its loop is.

    python -m tests.performance.daemon_work [traced|profiled]

A pod of the handler `boots` boots its machine, one of the handler `waits` gets one that has waited. strace(1) follows
the daemon during a call, and the daemon's own threads are counted, without the programs that it starts. A second
call is profiled in the thread of the event loop (cProfile, switched by a signal). Counts are about the same on every
host, seconds are not.
"""

import json
import os
import pstats
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cri_api.v1 import api_pb2 as pb

from tests.standins.images import BUSYBOX
from tests.support.conformance import Serving, serving
from tests.support.conformance_client import Container, Pod
from tests.support.waiting import eventually

_IDLE = 60.0
"""Seconds in which a pod does nothing."""
_SHOWN = 8
"""System calls, and functions, that are shown: those with most."""
_BOOTS, _WAITS = "boots", "waits"
_HANDLERS = {_BOOTS: {"template": "off"}, _WAITS: {"template": "auto", "pool": {"size": 1}}}
_DEADLINE, _MOST = 10.0, 300.0
"""Seconds until strace or the profile is there, and until a machine waits."""

_SWITCH = """
import cProfile, os, signal
_profiles = []
def _switch(number, frame):
    if _profiles:
        _profiles[0].disable()
        _profiles.pop().dump_stats({path!r} + ".new")
        os.rename({path!r} + ".new", {path!r})
    else:
        _profiles.append(cProfile.Profile())
        _profiles[0].enable()
signal.signal(signal.SIGUSR2, _switch)
"""
"""Run by the daemon's interpreter at its start."""

_CALL = re.compile(r"^(\d+) +(<\.\.\. )?(\w+)(.*)$")
_CLONES = ("clone", "clone3", "fork", "vfork")
_NEW_PROCESS = re.compile(r"\)? += (\d+)")
_WRITE_LOCK = re.compile(r"-shm>, F_SETLK, \{l_type=F_WRLCK, l_whence=SEEK_SET, l_start=120,")
"""The lock that SQLite takes for each transaction that writes (WAL_WRITE_LOCK)."""
_FORCING = ("fsync", "fdatasync", "syncfs")


@dataclass
class Work:
    """The work of a process that its kernel has seen."""

    calls: Counter[str] = field(default_factory=Counter)
    transactions: int = 0
    """Writes of the state database."""
    forced: list[str] = field(default_factory=list)
    """Names of the files and directories that were written through to the disk."""
    programs: int = 0
    """Processes that were started."""

    def row(self, name: str) -> str:
        """A line of the table."""
        own = sum(not name.startswith("vmsandbox-") for name in self.forced)
        forced = f"{own} | {len(self.forced) - own}"
        most = ", ".join(f"{call} {count}" for call, count in self.calls.most_common(_SHOWN))
        return f"| {name} | {self.calls.total()} | {self.transactions} | {forced} | {self.programs} | {most} |"


HEAD = """\
| | system calls | database writes | fsyncs of ours | of libvirt | programs | most of the calls |
|---|---|---|---|---|---|---|"""


def read_trace(lines: Iterable[str], threads: Iterable[int]) -> Work:
    """Return the work of one process in the output of `strace -f -y`.

    Args:
        lines: of the output.
        threads: of the process, at the begin.
    """
    own, work = {str(thread) for thread in threads}, Work()
    cloning: dict[str, bool] = {}
    for line in lines:
        if not (found := _CALL.match(line)) or found[1] not in own:
            continue
        thread, resumed, name, rest = found.groups()
        if name in _CLONES:
            threaded = cloning.pop(thread) if resumed and thread in cloning else "CLONE_THREAD" in rest
            if made := _NEW_PROCESS.search(rest):
                own.update([made[1]] if threaded else [])
                work.programs += not threaded
            else:
                cloning[thread] = threaded
        if not resumed:
            _note(name, rest, work)
    return work


def _note(name: str, arguments: str, work: Work) -> None:
    work.calls[name] += 1
    work.transactions += name == "fcntl" and bool(_WRITE_LOCK.search(arguments))
    if name in _FORCING:
        path = re.search(r"<(.*?)>", arguments)
        work.forced.append(Path(path[1]).name if path else "?")


class Measuring:
    """Measures one daemon."""

    def __init__(self, daemon: Serving, directory: Path) -> None:
        """`directory` has the file of `_SWITCH`."""
        self._cri = daemon.cri
        self._daemon = _child(daemon.process.pid)
        self._trace, self._profile = directory / "trace", directory / "profile"

    def run(self, ways: Sequence[str]) -> None:
        """Measure each call in these ways: traced, profiled."""
        self._cri.pull(BUSYBOX)
        self._wait_for_machine()
        if "profiled" in ways:
            self._life(self._profiled)
            _tell(f"\nthreads: {_threads(self._daemon)}")
        if "traced" in ways:  # takes minutes: a daemon that is traced is slow
            _tell(f"\n{HEAD}")
            self._life(self._traced)

    def _life(self, measured: Callable[[str, Callable[[], object]], None]) -> None:
        """The calls of a pod that boots, and a minute of it; and the first call of one whose machine has waited."""
        pods: list[Pod] = []
        containers: list[Container] = []
        measured("RunPodSandbox, boot", lambda: pods.append(self._cri.run_pod(_BOOTS)))
        measured("CreateContainer", lambda: containers.append(pods[0].create()))
        measured("StartContainer", containers[0].start)
        measured("ExecSync", lambda: containers[0].exec("true"))
        measured(f"an idle pod, {_IDLE:.0f} s", lambda: time.sleep(_IDLE))
        measured("StopPodSandbox", pods[0].stop)
        measured("RemovePodSandbox", pods[0].remove)
        measured("RunPodSandbox, pool", lambda: pods.append(self._cri.run_pod(_WAITS)))
        pods[1].remove()
        self._wait_for_machine()

    def _traced(self, name: str, work: Callable[[], object]) -> None:
        threads = [int(path.name) for path in Path(f"/proc/{self._daemon}/task").iterdir()]
        command = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(self._trace), "-p", str(self._daemon)]
        with subprocess.Popen(command) as strace:
            eventually(lambda: all(_is_traced(self._daemon, thread) for thread in threads), _DEADLINE)
            work()
            strace.send_signal(signal.SIGINT)
        _tell(read_trace(self._trace.read_text(errors="replace").splitlines(), threads).row(name))

    def _profiled(self, name: str, work: Callable[[], object]) -> None:
        self._profile.unlink(missing_ok=True)
        begin = _cpu_by_thread(self._daemon)
        os.kill(self._daemon, signal.SIGUSR2)
        work()
        os.kill(self._daemon, signal.SIGUSR2)
        end = _cpu_by_thread(self._daemon)
        eventually(self._profile.exists, _DEADLINE)
        used = Counter({thread: end[thread] - begin.get(thread, 0.0) for thread in end})
        told = ", ".join(f"{thread} {value:.2f}" for thread, value in used.most_common(4) if value >= 0.01)
        _tell(f"\n{name}: seconds of CPU time by thread: {told}")
        for line in _functions(self._profile):
            _tell(line)

    def _wait_for_machine(self) -> None:
        def waits() -> bool:
            status = self._cri.runtime.Status(pb.StatusRequest(verbose=True))
            return any(int(pool["waiting"]) for pool in json.loads(status.info["host"])["pools"])

        eventually(waits, _MOST)


def _functions(profile: Path) -> Iterator[str]:
    """The functions that have taken most time themselves, without those that wait."""
    statistics: dict[tuple[str, int, str], tuple[int, int, float, float, object]]
    statistics = pstats.Stats(str(profile)).stats  # type: ignore[attr-defined]
    rows = sorted(statistics.items(), key=lambda item: -item[1][2])
    for (file, line, function), (_, count, own, _, _) in [row for row in rows if "poll" not in row[0][2]][:_SHOWN]:
        yield f"    {own * 1000:7.1f} ms, {count:5d} times: {Path(file).name}:{line} {function}"


def _is_traced(process: int, thread: int) -> bool:
    try:
        return "TracerPid:\t0" not in Path(f"/proc/{process}/task/{thread}/status").read_text()
    except FileNotFoundError:  # it has ended
        return True


def _threads(process: int) -> str:
    paths = Path(f"/proc/{process}/task").iterdir()
    names = Counter(re.sub(r"[-_]?\d+$", "", (path / "comm").read_text().strip()) for path in paths)
    return f"{names.total()}: " + ", ".join(f"{name} {count}" for name, count in names.most_common())


def _cpu_by_thread(process: int) -> dict[str, float]:
    found = {}
    for path in Path(f"/proc/{process}/task").iterdir():
        words = (path / "stat").read_text().rpartition(")")[2].split()
        seconds = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        found[f"{(path / 'comm').read_text().strip()} {path.name}"] = seconds
    return found


def _child(process: int) -> int:
    """The daemon below its tini."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(ways: Sequence[str]) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory(prefix="vms-work-") as name:
        directory = Path(name)
        (directory / "sitecustomize.py").write_text(_SWITCH.format(path=str(directory / "profile")))
        search = f"PYTHONPATH={directory}:{Path.cwd()}"
        with serving({"handlers": _HANDLERS}, under=["env", search]) as daemon:
            Measuring(daemon, directory).run(ways)


if __name__ == "__main__":
    main(sys.argv[1:] or ("traced", "profiled"))
