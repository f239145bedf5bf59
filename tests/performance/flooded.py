"""A daemon on a host of fakes whose pods flood it, for `floods`; every agent is a process of its own.

    python -m tests.performance.flooded DIRECTORY FLOOD PODS

It runs one quiet pod and PODS that flood, serves the CRI, and says so by a line with the id of the quiet pod's
container. When its input ends it tells, in JSON, how late its event loop was, and how much of a processor it took: that
does not depend on what else the host does.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fakes.host import MIB, FakeTransports, FakeWorld, app, pod
from tests.fakes.transport import UnixTransport
from vmsandbox.cri.server import NodeInfo, serving
from vmsandbox.model import PodSandboxConfig
from vmsandbox.service import RuntimeService
from vmsandbox.state import State

_PIPE = asyncio.subprocess.PIPE
_LOOK = 0.005
"""Seconds between looks at the loop's lateness."""


class Processes(FakeTransports):
    """Transports to agents that are processes."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.flood = "quiet"
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self, sandbox_id: str, directory: Path, *_: object) -> UnixTransport:
        place = self._place(sandbox_id)
        place.mkdir(parents=True)
        command = (sys.executable, "-m", "tests.performance.flooding", str(place), self.flood)
        process = await asyncio.create_subprocess_exec(*command, stdin=_PIPE, stdout=_PIPE)
        self._processes.append(process)
        assert process.stdout is not None
        await process.stdout.readline()
        return UnixTransport(place)

    async def aclose(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def watch(late: list[float], worked: list[float]) -> None:
    """How late the loop comes to what is due, and the CPU time of its thread between two looks, in seconds."""
    while True:
        due, begin = time.perf_counter() + _LOOK, time.thread_time()
        await asyncio.sleep(_LOOK)
        late.append(time.perf_counter() - due)
        worked.append(time.thread_time() - begin)


def percentile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


async def main(directory: Path, flood: str, pods: int) -> None:
    world = FakeWorld(directory)
    transports = world.transports = Processes(directory / "a")
    ready = asyncio.get_running_loop().create_future()
    ready.set_result(None)
    node = NodeInfo(("",), lambda: ready, directory / "lib")  # type: ignore[arg-type, return-value]
    with State(directory / "state.db") as state:
        async with RuntimeService(world.host(state, memory_budget=100_000 * MIB)).running() as service:
            quiet = await container(service, pod("quiet"))
            await service.start_container(quiet)
            transports.flood = flood
            logs = [str(directory / "logs" / str(number)) for number in range(pods)]
            floods = [await container(service, pod(f"flood-{log[-1]}", log_directory=log)) for log in logs]
            async with serving(service, directory / "cri.sock", node, grace=0):
                await asyncio.gather(*map(service.start_container, floods))
                await measure(quiet)
    await transports.aclose()


async def container(service: RuntimeService, config: PodSandboxConfig) -> str:
    """A container that is to be started."""
    log = {"log_path": "0.log"} if config.log_directory else {}
    return await service.create_container(await service.run_pod_sandbox(config), app(**log))


async def measure(quiet: str) -> None:
    """Watch the loop until the input ends."""
    late: list[float] = []
    worked: list[float] = []
    begin = time.monotonic()
    watching = asyncio.create_task(watch(late, worked))
    sys.stdout.write(f"{quiet}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    watching.cancel()
    told = {
        "late": percentile(late, 0.99),
        "worked": percentile(worked, 0.99),
        "most": max(worked),
        "part": sum(worked) / (time.monotonic() - begin),
    }
    sys.stdout.write(json.dumps(told))
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
