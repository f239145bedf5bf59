"""The pod's interfaces, found by their MAC addresses."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from vmsandbox.protocol.messages import Interface
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.setup.plugged import appears
from vmsandbox_agent.setup.rtnetlink import Rtnetlink, parse_network

_SYS_NET = Path("/sys/class/net")
_PLUGGED = 10.0
"""Seconds until an interface that the host has plugged in is there."""


async def configure_interfaces(interfaces: Sequence[Interface], card: str = "") -> None:
    """Bring up `lo` and the interfaces, with their names, addresses and routes, once they are there; can be repeated.

    Args:
        interfaces: what the machine is to have.
        card: the MAC of a card that gets the MAC of the one interface; empty: each card has the MAC of its interface.

    Raises:
        AgentError: an interface does not exist, or an address is not valid.
        OSError: the kernel refuses.
    """
    _check(interfaces)
    found = {interface.name: await _by_mac(interface.mac, card) for interface in interfaces}
    with Rtnetlink() as kernel:
        kernel.set_link("lo", up=True)
        for interface in interfaces if card else ():
            _readdress(kernel, found[interface.name], interface.mac)
        _rename(kernel, found)
        for interface in interfaces:
            _refuse_advertisements(interface.name)
            kernel.set_link(interface.name, up=True, mtu=interface.mtu)
            for address in interface.addresses:
                kernel.add_address(interface.name, address)
        for interface in interfaces:
            _add_routes(kernel, interface)


def _check(interfaces: Sequence[Interface]) -> None:
    for interface in interfaces:
        for network in (*interface.addresses, *(route.destination for route in interface.routes)):
            try:
                parse_network(network)
            except ValueError as error:
                raise AgentError("invalid_argument", f"interface {interface.name}: {error}") from None


def _rename(kernel: Rtnetlink, found: Mapping[str, str]) -> None:
    """Give every interface the name for which it was found, by way of one that nobody has: two may swap theirs."""
    wrong = [(name, current) for name, current in found.items() if name != current]
    for number, (_, current) in enumerate(wrong):
        kernel.set_link(current, up=False, new_name=f"renaming{number}")
    for number, (name, _) in enumerate(wrong):
        kernel.set_link(f"renaming{number}", up=False, new_name=name)


def _readdress(kernel: Rtnetlink, current: str, mac: str) -> None:
    """Give an interface a MAC, unless it has it, before it is up: an IPv6 address is made of it."""
    if _macs().get(mac.lower()) != current:
        kernel.set_link(current, up=False, mac=mac)


async def _by_mac(mac: str, card: str) -> str:
    """Wait for the interface of a MAC, or else of the card's, and return its name."""
    try:
        async with asyncio.timeout(_PLUGGED):
            return await appears(lambda: (macs := _macs()).get(mac.lower()) or macs.get(card.lower()))
    except TimeoutError:
        raise AgentError("failed_precondition", f"no interface has the MAC {mac}, only {sorted(_macs())}") from None


def _macs() -> dict[str, str]:
    """The names of all interfaces by their MAC addresses."""
    return {(entry / "address").read_text().strip(): entry.name for entry in _SYS_NET.iterdir()}


def _refuse_advertisements(name: str) -> None:
    """The addresses and routes are the host's to give, not a router's."""
    setting = Path(f"/proc/sys/net/ipv6/conf/{name}/accept_ra")
    if setting.exists():
        setting.write_text("0")


def _add_routes(kernel: Rtnetlink, interface: Interface) -> None:
    """On-link routes first: a gateway may lie in one of them."""
    for route in sorted(interface.routes, key=lambda route: bool(route.gateway)):
        kernel.add_route(interface.name, route.destination, route.gateway)
