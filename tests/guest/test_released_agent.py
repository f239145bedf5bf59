"""The agents of released versions, which machines that outlive an upgrade have, with the host's end of now."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.agent_contract import AgentContract, Host
from tests.fakes.hostile_agent import hang
from tests.fakes.transport import UnixTransport
from tests.guest.client import process_spec
from tests.guest.conftest import running_agent
from tests.released import AGENTS, unpack_agent
from vmsandbox.errors import NotFound, Unimplemented
from vmsandbox.guest.session import RunState, Session, features
from vmsandbox.protocol.features import BEFORE_FEATURES
from vmsandbox.protocol.messages import GUEST, Containers, Exec, ListContainers


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

    async def test_cpus_of_the_machine_come_into_use_and_go(self, host: Host) -> None:
        with pytest.raises(Unimplemented, match="use_processors"):
            await host.client.use_processors(2)

    async def test_commands_run_in_the_guest_itself_where_that_is_allowed(self, host: Host) -> None:
        with pytest.raises(NotFound, match="no container guest"):
            await host.client.exec(Exec(GUEST, "g0", process_spec("true")))


async def test_a_released_agent_says_what_it_does_not_have_and_goes_on(released: UnixTransport) -> None:
    async with Session(released, "pod", hang, build="this-build") as session:
        peer = await session.connect(30)
        assert (peer.version, all(features.has(peer, each) for each in BEFORE_FEATURES[2])) == (2, True)
        with pytest.raises(Unimplemented, match="does not have dance") as caught:
            await session.request(Dance(), 10)
        assert "make the pod again" in caught.value.hint
        assert await session.request(ListContainers(), 10) == Containers()
        assert session.state is RunState.CONNECTED
