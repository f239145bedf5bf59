"""The cost of exec compared with crun, and the rate of streaming compared with a bare stream of the agent.

    python -m tests.performance.streaming [REPETITIONS]

All figures are of one run, on one machine; compare the ratios.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from tests.support.conformance import Serving, serving
from vmsandbox.cri.client import CriClient, connected
from vmsandbox.model import ExecRequest
from vmsandbox.streaming.client import Wanted, command

MIB = 1024 * 1024
CARRIED = 32 * MIB

IN_GUEST = """
import os, subprocess, sys, time
os.setns(os.open("/proc/1/ns/cgroup", os.O_RDONLY), os.CLONE_NEWCGROUP)
for _ in range(int(sys.argv[2]) + 1):
    begin = time.monotonic()
    subprocess.run(["/usr/bin/crun", "--root=/run/vmsandbox/crun/state", "exec", sys.argv[1], "true"], check=True)
    print(time.monotonic() - begin)
"""
"""crun exec beside the agent: by the guest's own Python, from a privileged container that enters its namespaces."""


async def main(count: int) -> None:
    """Print a table."""
    with serving() as daemon, daemon.cri.pod(linux={"security_context": {"namespace_options": {"pid": "NODE"}}}) as pod:
        target = pod.start()
        async with connected(daemon.directory / "cri.sock") as client:
            streamed = await _times(count, lambda: _exec(client, target.id))
            sync = await _times(count, lambda: client.exec_sync(target.id, ("true",), 60))
            out = await _rate(client, target.id)
        inside = _inside(daemon, count)
    _print("crun exec in the guest", inside, inside)
    _print("ExecSync", sync, inside)
    _print("exec over WebSocket", streamed, inside)
    sys.stdout.write(f"exec, {CARRIED // MIB} MiB out: {out / MIB:.1f} MiB/s\n")


async def _times(count: int, work: Callable[[], Awaitable[object]]) -> list[float]:
    taken = []
    for _ in range(count):
        begin = time.monotonic()
        await work()
        taken.append(time.monotonic() - begin)
    return taken


async def _exec(client: CriClient, container: str, *words: str) -> int:
    """Run a command over the streaming server; the bytes that it printed."""
    url = await client.exec_url(ExecRequest(container, words or ("true",), stdout=True))
    async with command(url, Wanted(stdout=True)) as process:
        return sum([len(output.data) async for output in process.output()])


async def _rate(client: CriClient, container: str) -> float:
    begin = time.monotonic()
    carried = await _exec(client, container, "head", "-c", str(CARRIED), "/dev/zero")
    assert carried == CARRIED
    return carried / (time.monotonic() - begin)


def _inside(daemon: Serving, count: int) -> list[float]:
    security = {"privileged": True, "namespace_options": {"pid": "NODE"}}
    with daemon.cri.pod(linux={"security_context": {"privileged": True}}) as pod:
        python = ("nsenter", "-t", "1", "-m", "-p", "--", "/usr/bin/python3", "-I", "-S", "-c", IN_GUEST)
        ended = pod.start(*python, pod.start().id, str(count), security=security).wait(timeout=600)
    times = [float(line) for line in ended.stdout.splitlines()]
    assert len(times) == count + 1, ended.stderr
    return times[1:]  # the first one reads crun from the disk


def _print(what: str, times: list[float], base: list[float]) -> None:
    median, late = statistics.median(times), sorted(times)[int(len(times) * 0.99)]
    ratio = median / statistics.median(base)
    sys.stdout.write(f"{what}: median {median * 1000:.0f} ms, p99 {late * 1000:.0f} ms, {ratio:.2f} of crun exec\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
