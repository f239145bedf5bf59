"""The fake agent keeps what the host's end may expect of any agent."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.agent_contract import PROGRAMS, AgentContract


class TestFakeAgent(AgentContract):
    @pytest.fixture
    async def agent_directory(self, tmp_path: Path) -> AsyncIterator[Path]:
        async with FakeAgent(tmp_path) as agent:
            agent.programs = PROGRAMS
            yield tmp_path
