"""The real agent keeps what the host's end expects of it; the fake is held to the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.agent_contract import AgentContract
from tests.fakes.hostile_agent import hang
from tests.fakes.transport import UnixTransport
from tests.guest.client import Wire
from tests.guest.conftest import running_agent
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, NotFound
from vmsandbox.guest.session import RunState, Session
from vmsandbox.protocol.codec import decode, encode
from vmsandbox.protocol.framing import pack_json, parse_json
from vmsandbox.protocol.messages import (
    CONTROL_PORT,
    STREAM_PORT,
    Containers,
    Envelope,
    Hello,
    HelloProof,
    Kind,
    ListContainers,
    OpenStream,
    Stream,
)
from vmsandbox.protocol.secret import random_bytes

SECRET = random_bytes()


@pytest.fixture
def agent_with_a_secret(rootfs: Path) -> Iterator[Path]:
    with running_agent(rootfs, "0", SECRET.hex()) as directory:
        yield directory


async def test_an_agent_with_a_secret_serves_who_knows_it_and_nobody_else(agent_with_a_secret: Path) -> None:
    transport = UnixTransport(agent_with_a_secret)
    async with Session(transport, "pod", hang, secret=SECRET) as session:
        await session.connect(30)
        assert await session.request(ListContainers(), 10) == Containers()
        async with Session(transport, "pod", hang, secret=random_bytes()) as stranger:
            with pytest.raises(FailedPrecondition, match="does not know the machine's secret"):
                await stranger.connect(30)
        async with Session(transport, "pod", hang) as nobody:
            with pytest.raises(DeadlineExceeded):
                await nobody.connect(1)
        assert await session.request(ListContainers(), 10) == Containers()
        assert session.state is RunState.CONNECTED


@pytest.mark.parametrize("frame", [HelloProof("0" * 64), HelloProof(""), Hello((1,), "", nonce="1" * 64)])
async def test_a_controller_that_proves_nothing_replaces_nobody(agent_with_a_secret: Path, frame: object) -> None:
    async with Session(UnixTransport(agent_with_a_secret), "pod", hang, secret=SECRET) as session:
        await session.connect(30)
        wire = await Wire.dial(agent_with_a_secret, CONTROL_PORT)
        await wire.send(pack_json(encode(Hello((1,), "", nonce="0" * 64))))
        assert await wire.frame()
        await wire.send(pack_json(encode(frame)))
        goodbye = decode(Envelope, parse_json(await wire.frame() or b""))
        assert goodbye.kind is Kind.GOODBYE
        assert await wire.frame() is None
        await wire.close()
        assert await session.request(ListContainers(), 10) == Containers()


async def test_connections_that_say_nothing_keep_nobody_out(
    agent_with_a_secret: Path,
) -> None:
    strangers = [await Wire.dial(agent_with_a_secret, port) for port in (CONTROL_PORT, STREAM_PORT) for _ in range(100)]
    async with Session(UnixTransport(agent_with_a_secret), "pod", hang, secret=SECRET) as session:
        await session.connect(5)
        strangers += [await Wire.dial(agent_with_a_secret, CONTROL_PORT) for _ in range(100)]
        assert await session.request(ListContainers(), 5) == Containers()
        assert session.state is RunState.CONNECTED
        with pytest.raises(NotFound):
            await session.request(OpenStream("nobody", Stream.STDOUT), 5)
    for stranger in strangers:
        await stranger.close()


async def test_a_first_frame_that_is_large_is_not_waited_for(agent_with_a_secret: Path) -> None:
    wire = await Wire.dial(agent_with_a_secret, CONTROL_PORT)
    await wire.send((17 * 1024).to_bytes(4, "big"))
    goodbye = decode(Envelope, parse_json(await wire.frame() or b""))
    assert goodbye.kind is Kind.GOODBYE
    await wire.close()


class TestRealAgent(AgentContract):
    @pytest.fixture
    def agent_transport(self, agent: Path) -> UnixTransport:
        return UnixTransport(agent)
