import pytest

from tests.fakes.network import FakeNetwork
from tests.fakes.network_contract import NetworkContract, new_pod
from vmsandbox.errors import Unavailable


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


class TestFakeNetwork(NetworkContract):
    pass


async def test_an_error_told_to_the_fake_is_raised_and_nothing_is_attached(network: FakeNetwork) -> None:
    network.set_up_error = Unavailable("no address left")
    with pytest.raises(Unavailable):
        await network.set_up(new_pod())
    assert network.attached() == ()
