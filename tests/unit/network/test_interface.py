from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.network.interface import guest_view, in_order
from vmsandbox.protocol.messages import Route


def test_a_bridge_networks_subnet_route_comes_with_the_address() -> None:
    routes = [Route("0.0.0.0/0", "10.1.0.1"), Route("10.1.0.0/16"), Route("::/0", "fd00::1"), Route("fd00::/64")]
    view = guest_view([ip_interface("10.1.0.5/16"), ip_interface("fd00::5/64")], routes)
    assert view.addresses == ("10.1.0.5/16", "fd00::5/64")
    assert view.routes == (Route("0.0.0.0/0", "10.1.0.1"), Route("::/0", "fd00::1"))


def test_without_a_route_to_its_subnet_an_address_stands_alone_as_with_ptp() -> None:
    routes = [Route("0.0.0.0/0", "10.1.0.1"), Route("10.1.0.0/16", "10.1.0.1"), Route("10.1.0.1/32")]
    view = guest_view([ip_interface("10.1.0.5/16")], routes)
    assert view.addresses == ("10.1.0.5/32",)
    assert view.routes == (Route("10.1.0.1/32"), *routes[:2])


def test_a_gateway_outside_of_every_subnet_gets_a_route_of_its_own() -> None:
    view = guest_view([ip_interface("10.1.0.5/32")], [Route("0.0.0.0/0", "169.254.1.1")])
    assert view.routes == (Route("169.254.1.1/32"), Route("0.0.0.0/0", "169.254.1.1"))


def test_a_link_local_ipv6_gateway_needs_no_route() -> None:
    view = guest_view([ip_interface("fd00::5/128")], [Route("::/0", "fe80::1")])
    assert view.routes == (Route("::/0", "fe80::1"),)


def test_two_routes_by_one_outside_gateway_share_its_route() -> None:
    routes = [Route("0.0.0.0/0", "192.0.2.1"), Route("10.0.0.0/8", "192.0.2.1")]
    view = guest_view([ip_interface("10.1.0.5/32")], routes)
    assert view.routes == (Route("192.0.2.1/32"), *routes)


def test_addresses_stand_in_the_order_of_the_cni_result() -> None:
    addresses = [ip_interface("10.0.0.2/24"), ip_interface("10.0.1.2/24"), ip_interface("fd00::2/64")]
    ordered = in_order(addresses, ["fd00::2/64", "10.0.1.2/24"])
    assert [str(address.ip) for address in ordered] == ["fd00::2", "10.0.1.2", "10.0.0.2"]


_v4 = st.ip_addresses(v=4)
_routes = st.builds(
    lambda target, length, gateway: Route(str(ip_network(f"{target}/{length}", strict=False)), str(gateway or "")),
    _v4, st.integers(0, 32), st.none() | _v4,
)  # fmt: skip


@given(_v4, st.integers(0, 32), st.lists(_routes, max_size=5))
def test_every_gateway_can_be_reached_when_its_route_is_set(target: object, length: int, routes: list[Route]) -> None:
    view = guest_view([ip_interface(f"{target}/{length}")], routes)
    reachable = [ip_interface(address).network for address in view.addresses]
    for route in view.routes:
        if route.gateway:
            assert any(ip_address(route.gateway) in network for network in reachable)
        else:
            reachable.append(ip_network(route.destination))
    assert len(set(view.routes)) == len(view.routes)
