"""The few messages of rtnetlink(7) that set up an interface: no `ip` to start, each answer awaited."""

import os
import socket
import struct

RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 20, 24
_REQUEST, _ACK, _REPLACE, _CREATE = 0x01, 0x04, 0x100, 0x400
_HEADER = struct.Struct("=IHHII")
_ERROR = struct.Struct("=i")

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFF_UP = 1, 3, 4, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _IFA_F_NODAD = 1, 2, 8, 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RT_TABLE_MAIN, _RTPROT_STATIC, _SCOPE_UNIVERSE, _SCOPE_LINK, _RTN_UNICAST = 254, 4, 0, 253, 1
_RTNH_F_ONLINK = 4


class Rtnetlink:
    """A conversation with the kernel's network configuration; close it by leaving its context."""

    def __init__(self) -> None:
        """Open the socket."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def __enter__(self) -> "Rtnetlink":
        """Nothing more to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the socket."""
        self._socket.close()

    def set_link(self, name: str, *, up: bool, new_name: str = "", mtu: int = 0, mac: str = "") -> None:
        """Bring an interface up or down; rename it (when it is down), and set MTU and MAC, where they are given."""
        index = socket.if_nametoindex(name)
        head = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, _IFF_UP if up else 0, _IFF_UP)
        renaming = _attribute(_IFLA_IFNAME, new_name.encode() + b"\0") if new_name else b""
        sizing = _attribute(_IFLA_MTU, struct.pack("=I", mtu)) if mtu else b""
        addressing = _attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) if mac else b""
        self._ask(RTM_NEWLINK, 0, head + renaming + sizing + addressing, f"setting up the interface {name}")

    def add_address(self, name: str, address: str) -> None:
        """Give an interface an address in CIDR form; an IPv6 one is usable at once (no duplicate detection)."""
        family, packed, length = parse_network(address)
        flags = _IFA_F_NODAD if family == socket.AF_INET6 else 0
        head = struct.pack("=BBBBi", family, length, 0, _SCOPE_UNIVERSE, socket.if_nametoindex(name))
        attributes = _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
        extra = _attribute(_IFA_FLAGS, struct.pack("=I", flags))
        self._ask(RTM_NEWADDR, _REPLACE | _CREATE, head + attributes + extra, f"adding the address {address}")

    def add_route(self, name: str, destination: str, gateway: str) -> None:
        """Route a network (CIDR form) by an interface, through a gateway that need not be in its networks."""
        family, packed, length = parse_network(destination)
        scope = _SCOPE_UNIVERSE if gateway or family == socket.AF_INET6 else _SCOPE_LINK
        flags = _RTNH_F_ONLINK if gateway else 0
        head = struct.pack(
            "=BBBBBBBBI", family, length, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, scope, _RTN_UNICAST, flags
        )
        attributes = _attribute(_RTA_OIF, struct.pack("=I", socket.if_nametoindex(name)))
        if length:
            attributes += _attribute(_RTA_DST, packed)
        if gateway:
            attributes += _attribute(_RTA_GATEWAY, socket.inet_pton(family, gateway))
        what = f"adding the route {destination} via {gateway or name}"
        self._ask(RTM_NEWROUTE, _REPLACE | _CREATE, head + attributes, what)

    def _ask(self, kind: int, flags: int, body: bytes, what: str) -> None:
        flags |= _REQUEST | _ACK
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
        answer = self._socket.recv(65536)
        (error,) = _ERROR.unpack_from(answer, _HEADER.size)
        if error:
            raise OSError(-error, f"{what}: {os.strerror(-error)}")


def parse_network(text: str) -> tuple[int, bytes, int]:
    """The family, the packed address and the prefix length of a CIDR text (of a host, without a prefix).

    Raises:
        ValueError: it is not valid.
    """
    address, _, length = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        packed = socket.inet_pton(family, address)
        prefix = int(length or len(packed) * 8)
    except (OSError, ValueError):
        raise ValueError(f"{text!r} is not a network address") from None
    if not 0 <= prefix <= len(packed) * 8:
        raise ValueError(f"{text!r} has no such prefix length")
    return family, packed, prefix


def _attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)
