"""The agents of released versions, which machines that outlive an upgrade have, with the host's end of now."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.agent_contract import AgentContract
from tests.fakes.hostile_agent import hang
from tests.fakes.transport import UnixTransport
from tests.guest.conftest import running_agent
from tests.released import AGENTS, unpack_agent
from vmsandbox.errors import Unimplemented
from vmsandbox.guest.session import RunState, Session, features
from vmsandbox.protocol.features import FEATURES
from vmsandbox.protocol.messages import Containers, ListContainers


class Dance(ListContainers):
    """A method that came later."""

    METHOD = "dance"


@pytest.fixture(scope="module", params=AGENTS, ids=lambda path: path.stem)
def checkout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_agent(request.param, tmp_path_factory.mktemp("released"))


@pytest.fixture
def released(rootfs: Path, checkout: Path) -> Iterator[UnixTransport]:
    with running_agent(rootfs, checkout=checkout) as directory:
        yield UnixTransport(directory)


class TestReleasedAgent(AgentContract):
    @pytest.fixture
    def agent_transport(self, released: UnixTransport) -> UnixTransport:
        return released


async def test_a_released_agent_says_what_it_does_not_have_and_goes_on(released: UnixTransport) -> None:
    async with Session(released, "pod", hang, build="this-build") as session:
        peer = await session.connect(30)
        assert (peer.version, all(features.has(peer, each) for each in FEATURES)) == (2, True)
        with pytest.raises(Unimplemented, match="does not have dance") as caught:
            await session.request(Dance(), 10)
        assert "make the pod again" in caught.value.hint
        assert await session.request(ListContainers(), 10) == Containers()
        assert session.state is RunState.CONNECTED
