"""The contract of `Network`: one suite for the fake and for the real one."""

import uuid
from ipaddress import ip_interface
from pathlib import Path

import pytest

from vmsandbox.errors import AlreadyExists, InvalidArgument, NotFound
from vmsandbox.model import PodNetwork, PortMapping
from vmsandbox.network import Network, PodIdentity
from vmsandbox.protocol import codec


def new_pod() -> PodIdentity:
    """A pod with an id that no other has, in this run and in others on the machine."""
    return PodIdentity(uuid.uuid4().hex, "default", "web", "uid-1")


class NetworkContract:
    """Inherit from it, with a fixture `network` that tears down what the tests leave."""

    async def test_a_pod_gets_an_interface_and_a_tap(self, network: Network) -> None:
        pod = new_pod()
        made = await network.set_up(pod, [PortMapping(80, 0)])
        assert ip_interface(made.interface.addresses[0]).ip.is_private
        assert any(route.destination == "0.0.0.0/0" and route.gateway for route in made.interface.routes)
        assert made.interface.name == "eth0" and len(made.interface.mac) == 17 and made.interface.mtu >= 1280
        assert pod.sandbox_id in made.netns and len(made.tap) <= 15

    async def test_what_was_made_can_be_recorded(self, network: Network) -> None:
        made = await network.set_up(new_pod())
        assert codec.decode(PodNetwork, codec.encode(made)) == made

    async def test_two_pods_share_nothing(self, network: Network) -> None:
        one, two = await network.set_up(new_pod()), await network.set_up(new_pod())
        assert one.netns != two.netns and one.tap != two.tap and one.interface.mac != two.interface.mac
        assert not set(one.interface.addresses) & set(two.interface.addresses)

    async def test_a_sandbox_has_one_network(self, network: Network) -> None:
        pod = new_pod()
        made = await network.set_up(pod)
        with pytest.raises(AlreadyExists, match=pod.sandbox_id):
            await network.set_up(pod)
        await network.connect_tap(made)

    async def test_the_tap_of_a_machine_that_waits_is_that_of_its_network(self, network: Network) -> None:
        pod = new_pod()
        tap = await network.make_tap(pod.sandbox_id)
        made = await network.set_up(pod, tap_made=True)
        assert made.tap == tap
        await network.connect_tap(made)
        assert (await network.usage(made)).name == "eth0"

    async def test_a_tap_that_gets_no_network_is_given_back(self, network: Network) -> None:
        sandbox_id = new_pod().sandbox_id
        tap = await network.make_tap(sandbox_id)
        await network.tear_down(sandbox_id)
        assert await network.make_tap(sandbox_id) == tap
        await network.tear_down(sandbox_id)

    async def test_a_namespace_that_is_not_there_cannot_be_joined(self, network: Network) -> None:
        with pytest.raises(NotFound, match="/run/netns/nobody"):
            await network.join(new_pod().sandbox_id, Path("/run/netns/nobody"))
        assert network.attached() == ()

    async def test_connecting_twice_succeeds(self, network: Network) -> None:
        made = await network.set_up(new_pod())
        await network.connect_tap(made)
        await network.connect_tap(made)

    async def test_connecting_what_was_torn_down_is_an_error(self, network: Network) -> None:
        pod = new_pod()
        made = await network.set_up(pod)
        await network.tear_down(pod.sandbox_id)
        with pytest.raises(NotFound):
            await network.connect_tap(made)

    async def test_what_a_connected_pod_has_carried_is_told_by_the_name_of_its_interface(
        self, network: Network
    ) -> None:
        made = await network.set_up(new_pod())
        await network.connect_tap(made)
        usage = await network.usage(made)
        assert (usage.name, usage.rx_errors, usage.tx_errors) == ("eth0", 0, 0)
        assert usage.at > 0 and usage.rx_bytes >= usage.rx_packets >= 0 and usage.tx_bytes >= usage.tx_packets >= 0

    async def test_nothing_is_carried_before_connecting_nor_after_a_tear_down(self, network: Network) -> None:
        pod = new_pod()
        made = await network.set_up(pod)
        with pytest.raises(NotFound):
            await network.usage(made)
        await network.connect_tap(made)
        await network.tear_down(pod.sandbox_id)
        with pytest.raises(NotFound):
            await network.usage(made)

    async def test_tearing_down_twice_or_without_a_network_succeeds(self, network: Network) -> None:
        pod = new_pod()
        await network.tear_down(pod.sandbox_id)
        await network.set_up(pod)
        await network.tear_down(pod.sandbox_id)
        await network.tear_down(pod.sandbox_id)

    async def test_after_a_tear_down_the_sandbox_can_be_set_up_again(self, network: Network) -> None:
        pod = new_pod()
        await network.connect_tap(await network.set_up(pod))
        await network.tear_down(pod.sandbox_id)
        await network.connect_tap(await network.set_up(pod))

    async def test_what_is_attached_is_told(self, network: Network) -> None:
        one, two = new_pod(), new_pod()
        await network.set_up(one)
        await network.set_up(two)
        await network.tear_down(one.sandbox_id)
        assert network.attached() == (two.sandbox_id,)

    @pytest.mark.parametrize("broken", ["", "../x", "a/b", "-a", "x" * 200])
    async def test_an_id_that_cni_does_not_allow_changes_nothing(self, network: Network, broken: str) -> None:
        with pytest.raises(InvalidArgument):
            await network.set_up(PodIdentity(broken, "ns", "pod", "uid"))
        assert network.attached() == ()

    async def test_a_name_that_cannot_be_told_to_plugins_changes_nothing(self, network: Network) -> None:
        with pytest.raises(InvalidArgument, match="separator"):
            await network.set_up(PodIdentity("id", "ns", "pod;CNI_X=1", "uid"))
        assert network.attached() == ()

    async def test_check_finds_nothing_wrong(self, network: Network) -> None:
        found = await network.check()
        assert found and all(finding.ok for finding in found)
