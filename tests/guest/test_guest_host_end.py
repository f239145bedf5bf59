"""The real agent keeps what the host's end expects of it; the fake is held to the same."""

from pathlib import Path

import pytest

from tests.fakes.agent_contract import AgentContract
from tests.fakes.transport import UnixTransport


class TestRealAgent(AgentContract):
    @pytest.fixture
    def agent_transport(self, agent: Path) -> UnixTransport:
        return UnixTransport(agent)
