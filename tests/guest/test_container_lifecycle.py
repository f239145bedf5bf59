"""A container from its creation to its deletion, by crun on the test host."""

import signal

import pytest

from tests.guest.client import CONTAINER, AgentRefused, Client
from vmsandbox.protocol.messages import (
    DeleteContainer,
    ListContainers,
    SignalContainer,
    StartContainer,
    Stream,
)


async def test_a_container_prints_and_exits_with_its_code(client: Client) -> None:
    await client.create("echo out; echo err >&2; exit 3")
    await client.call(StartContainer(CONTAINER))
    stdout, stderr = await client.stream(Stream.STDOUT), await client.stream(Stream.STDERR)
    assert (await stdout.read_all(), await stderr.read_all()) == (b"out\n", b"err\n")
    ended = await client.exit()
    assert (ended.container_id, ended.exit_code, ended.oom_killed) == (CONTAINER, 3, False)
