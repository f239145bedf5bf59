"""When clocks of guests are looked at: at their start, after a pause, when the host's is set, when taken back."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.host import FakeWorld, pod
from tests.support.waiting import until
from vmsandbox.guest import clock
from vmsandbox.sandbox.lifecycle import sandboxes
from vmsandbox.sandbox.spec.machine_spec import domain_name
from vmsandbox.service import RuntimeService
from vmsandbox.state import State

HOUR = 3600 * 10**9


@pytest.fixture
def jumps(monkeypatch: pytest.MonkeyPatch) -> "asyncio.Queue[None]":
    """Put something in, and the host's clock was set. Guests are looked at for no other reason for an hour."""
    queue: asyncio.Queue[None] = asyncio.Queue()

    async def clock_jumps() -> AsyncGenerator[None, None]:
        while True:
            yield await queue.get()

    monkeypatch.setattr(sandboxes, "clock_jumps", clock_jumps)
    monkeypatch.setattr(clock, "INTERVAL", (3600, 3600))
    monkeypatch.setattr(clock, "SPREAD", 0.01)
    return queue


@pytest.fixture
async def service(world: FakeWorld, tmp_path: Path, jumps: "asyncio.Queue[None]") -> AsyncIterator[RuntimeService]:
    with State(tmp_path / "state.db") as state:
        async with RuntimeService(world.host(state)).running() as service:
            yield service


def right(agent: FakeAgent) -> bool:
    return abs(agent.behind) < HOUR // 1000


async def booted(world: FakeWorld, service: RuntimeService, name: str) -> tuple[str, FakeAgent]:
    """A sandbox whose guest was found to be wrong at its start."""

    def prepare(agent: FakeAgent) -> None:
        agent.behind = HOUR

    world.transports.prepare = prepare
    sandbox = await service.run_pod_sandbox(pod(name))
    agent = world.transports.agents[sandbox]
    await until(lambda: right(agent))
    return sandbox, agent


async def test_a_machine_that_goes_on_after_a_pause_has_its_clock_set(
    world: FakeWorld, service: RuntimeService
) -> None:
    sandbox, agent = await booted(world, service, "web")
    _, other = await booted(world, service, "db")
    agent.behind = other.behind = HOUR
    await world.hypervisor.pause(domain_name(sandbox))
    await until(lambda: right(agent))
    assert not right(other)


async def test_all_guests_follow_when_the_host_s_clock_is_set(
    world: FakeWorld, service: RuntimeService, jumps: "asyncio.Queue[None]"
) -> None:
    agents = [(await booted(world, service, name))[1] for name in ("web", "db")]
    stopped, _ = await booted(world, service, "old")
    await service.stop_pod_sandbox(stopped)
    for hours in (3, -3):
        for agent in agents:
            agent.behind = hours * HOUR
        jumps.put_nowait(None)
        await until(lambda: all(map(right, agents)))


async def test_a_guest_that_is_taken_back_has_its_clock_set(
    world: FakeWorld, tmp_path: Path, jumps: "asyncio.Queue[None]"
) -> None:
    with State(tmp_path / "state.db") as state:
        async with RuntimeService(world.host(state)).running() as service:
            _, agent = await booted(world, service, "web")
        agent.behind = HOUR
        service = RuntimeService(world.host(state))
        service.recover()
        async with service.running():
            await until(lambda: right(agent))
