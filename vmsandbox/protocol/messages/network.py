"""The network of a pod, as its guest is to set it up."""

from dataclasses import dataclass
from typing import Annotated

from vmsandbox.protocol.bounds import AtMost, Matching, Size16, Text

_Address = Annotated[str, Matching(r"[0-9A-Fa-f.:/]{0,64}")]
"""IPv4 or IPv6, with a prefix length or without."""
_Device = Annotated[str, Matching(r"[!-~]{1,15}")]
"""The name of a network interface (IFNAMSIZ)."""
Mac = Annotated[str, Matching(r"[0-9A-Fa-f:]{0,64}")]
_Several = AtMost(1024)


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the pod (CNI result `routes`): `destination` in CIDR form; an empty gateway means on-link."""

    destination: _Address
    gateway: _Address = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface, found by its MAC address and then named."""

    name: _Device
    mac: Mac
    mtu: Size16 = 1500
    addresses: Annotated[tuple[_Address, ...], _Several] = ()
    """Addresses with their prefix length."""
    routes: Annotated[tuple[Route, ...], AtMost(65536)] = ()


@dataclass(frozen=True, slots=True)
class Dns:
    """resolv.conf(5), as in CRI's DNSConfig."""

    servers: Annotated[tuple[Text, ...], _Several] = ()
    searches: Annotated[tuple[Text, ...], _Several] = ()
    options: Annotated[tuple[Text, ...], _Several] = ()
