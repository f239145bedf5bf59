"""The fake agent keeps what the host's end may expect of any agent."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.agent_contract import PROGRAMS, AgentContract
from tests.fakes.transport import UnixTransport


class TestFakeAgent(AgentContract):
    @pytest.fixture
    async def agent_transport(self, tmp_path: Path) -> AsyncIterator[UnixTransport]:
        async with FakeAgent(tmp_path) as agent:
            agent.programs = PROGRAMS
            yield UnixTransport(tmp_path)
