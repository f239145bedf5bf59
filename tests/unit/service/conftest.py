"""The runtime service on a host of fakes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.host import MIB, FakeWorld, pod
from vmsandbox.service import RuntimeService
from vmsandbox.state import State


@pytest.fixture
def state(tmp_path: Path):
    with State(tmp_path / "state.db") as state:
        yield state


@pytest.fixture
async def service(world: FakeWorld, state: State) -> AsyncIterator[RuntimeService]:
    async with RuntimeService(world.host(state, memory_budget=1024 * MIB)).running() as service:
        yield service


@pytest.fixture
async def sandbox(service: RuntimeService) -> str:
    return await service.run_pod_sandbox(pod())
