"""Commands, logs and port-forward, and what a program gets of the CPU."""

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cri_api.v1 import api_pb2 as pb

from tests.performance.bench.figures import Report
from tests.performance.bench.runtimes import Runtimes, timed
from tests.standins.images import HTTPD
from tests.support import spdy_client
from tests.support.conformance_client import Container, eventually
from vmsandbox.streaming.client import Wanted

MIB = 1 << 20
CARRIED = 16 * MIB
OWN_PIDS = {"namespace_options": {"pid": pb.CONTAINER}}
"""Has a container's first process be process 1, whose output a script may use."""
_LINE = "0123456789abcdef" * 4
_LINES = 100_000
_LOOP = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"
_CALLS = "i=0; while [ $i -lt 10000 ]; do [ -e / ]; i=$((i+1)); done"
_STARTS = "i=0; while [ $i -lt 50 ]; do /bin/true; i=$((i+1)); done"
_HASH = "head -c 33554432 /dev/zero | sha256sum"


def streams(both: Runtimes, report: Report) -> None:
    """Measure exec, the log and port-forward over SPDY, which both runtimes speak."""
    found: dict[str, list[tuple[str, float]]] = {side: [] for side in both.both()}
    with _containers(both, HTTPD) as containers:
        for _ in range(report.repetitions):
            for side, container in containers.items():
                found[side] += _streams(container)
    report.compare("streams", found)
    report.note_load()


def _streams(container: Container) -> list[tuple[str, float]]:
    return [
        ("exec over SPDY: true", asyncio.run(_exec(container, "true"))),
        ("exec over SPDY: 16 MiB out", asyncio.run(_exec(container, "head", "-c", str(CARRIED), "/dev/zero"))),
        ("port-forward: a first byte", asyncio.run(_forward(container, "index.html"))),
        ("port-forward: 16 MiB out", asyncio.run(_forward(container, "large"))),
        (f"log: {_LINES} lines", timed(_log, container)),
    ]


def cpu(both: Runtimes, report: Report) -> None:
    """Measure programs that use the CPU alone."""
    scripts = {
        "a loop of the shell": _LOOP,
        "10000 stat(2)": _CALLS,
        "50 programs": _STARTS,
        "SHA-256 of 32 MiB": _HASH,
    }
    found: dict[str, list[tuple[str, float]]] = {side: [] for side in both.both()}
    with _containers(both, HTTPD) as containers:
        for _ in range(report.repetitions):
            for side, container in containers.items():
                found[side] += [(name, script_time(container, script)) for name, script in scripts.items()]
    report.compare("CPU inside", found)
    report.note_load()


def script_time(container: Container, script: str) -> float:
    """Return the seconds of a script: those between two lines that it has in the container's log."""
    name = uuid.uuid4().hex
    told = f"echo begin {name} > /proc/1/fd/1; ({script}) > /dev/null; echo end {name} > /proc/1/fd/1"
    answer = container.exec("sh", "-ec", told, timeout=600)
    assert answer.exit_code == 0, answer.stderr
    return eventually(lambda: _between(container.log_file, name))


def _between(log: Path, name: str) -> float | None:
    lines = [line for line in log.read_text().splitlines() if line.endswith(name)]
    if len(lines) < 2:
        return None
    begin, end = (datetime.fromisoformat(line.split(" ", 1)[0]) for line in lines)
    return (end - begin).total_seconds()


@contextlib.contextmanager
def _containers(both: Runtimes, image: str) -> Iterator[dict[str, Container]]:
    """A container of each, with a web server and a large file."""
    with contextlib.ExitStack() as stack:
        started = {}
        for side, cri in both.both().items():
            script = f"echo . > /srv/index.html; head -c {CARRIED} /dev/zero > /srv/large; httpd -f -p 80 -h /srv"
            started[side] = stack.enter_context(cri.pod()).start("sh", "-c", script, image=image, security=OWN_PIDS)
        for container in started.values():
            eventually(lambda each=container: ":0050 " in each.output("cat", "/proc/net/tcp", "/proc/net/tcp6"))  # type: ignore[misc]
        yield started


async def _exec(container: Container, *words: str) -> float:
    request = pb.ExecRequest(container_id=container.id, cmd=words, stdout=True)
    begin = asyncio.get_running_loop().time()
    url = container.pod.cri.runtime.Exec(request).url
    async with spdy_client.command(url, Wanted(stdout=True)) as process:
        carried = sum([len(output.data) async for output in process.output()])
    assert carried == (CARRIED if len(words) > 1 else 0)
    return asyncio.get_running_loop().time() - begin


async def _forward(container: Container, name: str) -> float:
    request = pb.PortForwardRequest(pod_sandbox_id=container.pod.id)
    begin = asyncio.get_running_loop().time()
    url = container.pod.cri.runtime.PortForward(request).url
    async with spdy_client.port_forward(url) as forward, forward.connect(80) as channel:
        await channel.write(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
        carried = 0
        while data := await channel.read():
            carried += len(data)
    assert carried > (CARRIED if name == "large" else 0)
    return asyncio.get_running_loop().time() - begin


def _log(container: Container) -> None:
    """Run a container that prints, until its last line is in the log and it has ended."""
    printing = container.pod.start("sh", "-c", f"yes {_LINE} | head -n {_LINES}")
    size = _LINES * len(_LINE)
    eventually(lambda: _size(printing.log_file) > size and _lines(printing.log_file) == _LINES, 600)
    printing.wait()
    printing.remove()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")
