"""Fixtures of several modules."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.streaming import LocalTargets
from vmsandbox.config import StreamingConfig
from vmsandbox.streaming.server import StreamingServer


@pytest.fixture
def targets() -> LocalTargets:
    return LocalTargets()


@pytest.fixture
async def running(targets: LocalTargets) -> AsyncIterator[StreamingServer]:
    async with StreamingServer(targets, StreamingConfig()).running() as streaming:
        yield streaming
