"""Fixtures of several modules; a module that needs another one of a name has its own."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.host import FakeWorld
from tests.fakes.transport import UnixTransport
from vmsandbox.guest.session import Session


@pytest.fixture(autouse=True)
def log_as_nobody_has_configured_it() -> None:
    """`caplog` sees the log although a command, which configures it, has run here before: in a test or a fixture."""
    root = logging.getLogger("vmsandbox")
    root.handlers[:], root.propagate = [], True
    root.setLevel(logging.NOTSET)
    logging.getLogger("vmsandbox.pods").disabled = False
    logging.disable(logging.NOTSET)  # the completion of names disables all


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FakeWorld]:
    """A host of fakes, below whose directory everything is."""
    world = FakeWorld(tmp_path)
    yield world
    await world.transports.aclose()


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[FakeAgent]:
    """An agent that listens."""
    async with FakeAgent(tmp_path) as agent:
        yield agent


@pytest.fixture
async def session(agent: FakeAgent, tmp_path: Path) -> AsyncIterator[Session]:
    """A session with the agent, whose events nobody ever acknowledges."""

    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    async with Session(UnixTransport(tmp_path), "pod", hang) as session:
        await session.connect(10)
        yield session
