"""Clients that know nothing of each other, and machines that die under them: whatever comes, all is given back."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.fakes.host import MIB, FakeWorld, app, pod
from tests.fakes.processes import FakeProcess
from vmsandbox.errors import VmsandboxError
from vmsandbox.model import ContainerState, SandboxState
from vmsandbox.service import RuntimeService
from vmsandbox.state import ContainerRecord, SandboxRecord, State

CLIENTS, CALLS = 8, 25


async def short(process: FakeProcess) -> int:
    await process.write(b"line\n")
    await asyncio.sleep(0.01)
    return 0


class Client:
    """Calls at random what the CRI offers, on whatever there is, and often gives up."""

    def __init__(self, service: RuntimeService, world: FakeWorld, seed: int) -> None:
        self._service = service
        self._world = world
        self._random = random.Random(seed)
        self._number = seed * 1000

    async def run(self) -> None:
        for _ in range(CALLS):
            call = asyncio.create_task(self._call())
            await asyncio.wait([call], timeout=self._random.choice((0.001, 0.02, 0.2, 1)))
            call.cancel()
            (result,) = await asyncio.gather(call, return_exceptions=True)
            assert result is None or isinstance(result, (VmsandboxError, asyncio.CancelledError)), repr(result)

    async def _call(self) -> None:
        calls = (
            self._run, self._run, self._create, self._create, self._start, self._start, self._stop, self._remove,
            self._exec, self._stop_pod, self._remove_pod, self._kill,
        )  # fmt: skip
        await self._random.choice(calls)()

    def _sandbox(self) -> str:
        return self._random.choice([status.id for status in self._service.list_pod_sandboxes()] or ["nobody"])

    def _container(self) -> str:
        return self._random.choice([status.id for status in self._service.list_containers()] or ["nobody"])

    async def _run(self) -> None:
        self._number += 1
        await self._service.run_pod_sandbox(pod(f"pod-{self._number % 7}", attempt=self._number))

    async def _create(self) -> None:
        await self._service.create_container(self._sandbox(), app(f"app-{self._random.randrange(3)}"))

    async def _start(self) -> None:
        await self._service.start_container(self._container())

    async def _stop(self) -> None:
        await self._service.stop_container(self._container(), self._random.choice((0, 0.01)))

    async def _remove(self) -> None:
        await self._service.remove_container(self._container())

    async def _exec(self) -> None:
        await self._service.exec_sync(self._container(), ("short",), 1)

    async def _stop_pod(self) -> None:
        await self._service.stop_pod_sandbox(self._sandbox())

    async def _remove_pod(self) -> None:
        await self._service.remove_pod_sandbox(self._sandbox())

    async def _kill(self) -> None:
        if self._random.random() < 0.3:
            self._world.hypervisor.kill(f"vmsandbox-{self._sandbox()}")


def check_what_is_told(service: RuntimeService) -> None:
    ready = {status.id for status in service.list_pod_sandboxes() if status.state is SandboxState.READY}
    for status in service.list_containers():
        alive = status.state in (ContainerState.CREATED, ContainerState.RUNNING)
        assert not alive or status.sandbox_id in ready, status


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_of_calls_leaves_nothing(tmp_path: Path, seed: int) -> None:
    world = FakeWorld(tmp_path)
    world.transports.prepare = lambda agent: agent.programs.update({("short",): short, ("run",): short})
    with State(tmp_path / "state.db") as state:
        service = RuntimeService(world.host(state, memory_budget=500 * MIB, boots_in_parallel=2))
        async with service.running():
            async with asyncio.timeout(120):
                clients = (Client(service, world, seed * 100 + number) for number in range(CLIENTS))
                await asyncio.gather(*(client.run() for client in clients))
                check_what_is_told(service)
                for status in service.list_pod_sandboxes():
                    await service.remove_pod_sandbox(status.id)
            assert (service.list_pod_sandboxes(), service.list_containers(), world.left()) == ((), (), [])
            assert (state.all(SandboxRecord), state.all(ContainerRecord)) == ((), ())
            await service.run_pod_sandbox(pod("after"))
            await service.remove_pod_sandbox(service.list_pod_sandboxes()[0].id)
    await world.transports.aclose()
