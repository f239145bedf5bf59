"""The settings of the pod's interface that the guest takes over, read from the kernel.

The kernel is asked rather than the CNI result, since plugins set up more than they report (ptp's and calico's on-link
gateways, an MTU, a MAC). Not taken over: permanent neighbour entries, policy routing rules, and the metrics, MTU and
source address of a route (docs/limitations.md).
"""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import Any

from pyroute2 import IPRoute

from vmsandbox.errors import FailedPrecondition, NotFound, Unimplemented
from vmsandbox.protocol.messages import Interface, Route

_PERMANENT = 0x80
_UP, _LOOPBACK = 0x1, 0x8
_MAIN_TABLE = 254
_UNICAST = 1
_ROUTE_OF_ADVERTISEMENT = 9

Address = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class View:
    """The addresses and routes of a guest's interface, in the order in which they can be set."""

    addresses: tuple[str, ...]
    routes: tuple[Route, ...]


def read(ipr: IPRoute, name: str, preferred: Sequence[str] = ()) -> Interface:
    """The interface of that name in the connection's namespace.

    Args:
        ipr: connected to the namespace.
        name: of the interface.
        preferred: addresses in the order of the CNI result; the first is the pod's first address.

    Raises:
        NotFound: the plugins made no such interface.
        FailedPrecondition: it has no address.
    """
    found = ipr.link_lookup(ifname=name)
    if not found:
        raise NotFound(f"the CNI plugins made no interface {name}")
    (link,) = ipr.get_links(found[0])
    addresses = _addresses(ipr, found[0])
    if not addresses:
        raise FailedPrecondition(f"the CNI plugins gave {name} no address", hint="check the `ipam` section of the list")
    seen = guest_view(in_order(addresses, preferred), _routes(ipr, found[0]))
    mac, mtu = link.get_attr("IFLA_ADDRESS"), link.get_attr("IFLA_MTU")
    return Interface(name, mac, mtu, seen.addresses, seen.routes)


def only(ipr: IPRoute) -> str:
    """Return the name of the one interface in the connection's namespace, beside its loopback; empty: there is none.

    One that is down does not count: with some modules the kernel gives each namespace tunnels that nobody uses.

    Raises:
        Unimplemented: there are several.
    """
    names = [link.get_attr("IFLA_IFNAME") for link in ipr.get_links() if link["flags"] & (_UP | _LOOPBACK) == _UP]
    if len(names) > 1:
        raise Unimplemented(
            f"the network namespace has {len(names)} interfaces ({', '.join(names)}), and a machine takes one",
            hint="attach the container to one network",
        )
    return names[0] if names else ""


def in_order(addresses: Iterable[Address], preferred: Sequence[str]) -> tuple[Address, ...]:
    """The addresses, those of `preferred` first and in its order."""
    order = {ip_interface(text).ip: place for place, text in enumerate(preferred)}
    return tuple(sorted(addresses, key=lambda address: order.get(address.ip, len(order))))


def guest_view(addresses: Sequence[Address], routes: Sequence[Route]) -> View:
    """Addresses and routes such that a kernel that sets them has the routes given, and no others.

    Setting an address makes a route to its subnet. Where the namespace has that route it is left out; where it has
    none (ptp), the address is given without its subnet. A gateway that no on-link route covers gets one of its own.
    """
    on_link = {ip_network(route.destination) for route in routes if not route.gateway}
    connected = {address.network for address in addresses} & on_link
    shown = tuple(
        str(address) if address.network in connected else f"{address.ip}/{address.max_prefixlen}"
        for address in addresses
    )
    direct = [route for route in routes if not route.gateway and ip_network(route.destination) not in connected]
    indirect = [route for route in routes if route.gateway]
    missing = [
        Route(str(ip_network(route.gateway)))
        for route in indirect
        if not ip_address(route.gateway).is_link_local or ip_address(route.gateway).version == 4
        if not any(ip_address(route.gateway) in network for network in on_link)
    ]
    return View(shown, tuple(dict.fromkeys([*direct, *missing, *indirect])))


def _addresses(ipr: IPRoute, index: int) -> list[Address]:
    return [
        address
        for message in ipr.get_addr(index=index)
        if int(message.get_attr("IFA_FLAGS") or message["flags"]) & _PERMANENT
        if not (address := _address(message)).is_link_local or address.version == 4
    ]


def _address(message: Any) -> Address:
    # With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL one's own; IPv6 has no IFA_LOCAL otherwise.
    own = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    return ip_interface(f"{own}/{message['prefixlen']}")


def _routes(ipr: IPRoute, index: int) -> list[Route]:
    return [
        route
        for message in ipr.get_routes(table=_MAIN_TABLE)
        if message.get_attr("RTA_OIF") == index
        if message["type"] == _UNICAST and message["proto"] != _ROUTE_OF_ADVERTISEMENT
        if not _is_kernels_own(route := _route(message))
    ]


def _is_kernels_own(route: Route) -> bool:
    """Whether every kernel has the route by itself: to IPv6's link-local addresses."""
    network = ip_network(route.destination)
    return network.version == 6 and network.is_link_local and not route.gateway


def _route(message: Any) -> Route:
    if message.get_attr("RTA_VIA"):
        raise FailedPrecondition("a route of the pod has a gateway of the other IP version, which is not supported")
    everything = {socket.AF_INET: "0.0.0.0/0", socket.AF_INET6: "::/0"}[message["family"]]
    destination = message.get_attr("RTA_DST")
    gateway = message.get_attr("RTA_GATEWAY") or ""
    return Route(f"{destination}/{message['dst_len']}" if destination else everything, gateway)
