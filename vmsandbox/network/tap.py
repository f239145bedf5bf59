"""The tap between a pod's namespace and its machine.

A tap is made in the host's namespace, where the hypervisor opens it, and then moved into the pod's, where tc sends
every frame that arrives at the one interface out of the other. The pod's interface keeps its addresses, since
plugins look them up again on DEL; the stack of the namespace never answers for them, since tc takes a frame away
before the stack sees it.

All functions take the netlink connection of `namespace.run`. A tap is known as a sandbox's by its alias.
"""

import contextlib
import hashlib
import time
from pathlib import Path

from pyroute2 import IPRoute, NetlinkError

from vmsandbox.errors import AlreadyExists, NotFound
from vmsandbox.model import InterfaceUsage

MTU = 1500
"""The MTU of a tap whose network is not known yet: the kernel's default."""

_COUNTED = ("bytes", "packets", "errors", "dropped")
"""The counters of each direction (rtnl_link_stats64)."""

_INGRESS = 0xFFFF0000
_ETH_P_ALL = 0x0003
_MATCH_ALL = "0x0/0x0+0"


def name_of(sandbox_id: str) -> str:
    """The name of a sandbox's tap: the same for the same id, within the kernel's 15 characters."""
    return "vms" + hashlib.sha256(sandbox_id.encode()).hexdigest()[:10]


def create(ipr: IPRoute, sandbox_id: str, mtu: int) -> str:
    """Make the sandbox's tap, down and with a MAC of the kernel's choice, and return its name.

    It persists until `delete`, whoever opens it. It takes one queue; vnet_hdr is up to the one who opens it.

    Raises:
        AlreadyExists: an interface of that name exists.
    """
    tap = name_of(sandbox_id)
    if ipr.link_lookup(ifname=tap):
        raise AlreadyExists(f"an interface {tap} exists", hint=f"`ip -d link show {tap}` shows its owner")
    ipr.link("add", ifname=tap, kind="tuntap", mode="tap")
    ipr.link("set", index=_index(ipr, tap), mtu=mtu, ifalias=_alias(sandbox_id))
    return tap


def resize(ipr: IPRoute, sandbox_id: str, mtu: int) -> None:
    """Give the sandbox's tap, which is in the connection's namespace, another MTU. Raises NotFound."""
    ipr.link("set", index=_index(ipr, name_of(sandbox_id)), mtu=mtu)


def delete(ipr: IPRoute, sandbox_id: str) -> None:
    """Remove the sandbox's tap from the connection's namespace. Succeeds where there is none.

    An interface of that name that is not a tap, or has another alias, is somebody else's and stays. A tap without an
    alias is one that a crash left before it was marked.
    """
    for index in ipr.link_lookup(ifname=name_of(sandbox_id)):
        (link,) = ipr.get_links(index)
        alias = link.get_attr("IFLA_IFALIAS")
        if link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "tun" and alias in (None, _alias(sandbox_id)):
            ipr.link("del", index=index)


def move(ipr: IPRoute, tap: str, path: Path) -> None:
    """Move a tap from the connection's namespace to that at `path`. Does nothing where it is not here (any more)."""
    with contextlib.suppress(NotFound), path.open("rb") as namespace:
        ipr.link("set", index=_index(ipr, tap), net_ns_fd=namespace.fileno())


def connect(ipr: IPRoute, tap: str, interface: str) -> None:
    """Join a tap and an interface of the same namespace: what one receives, the other sends. May be repeated.

    Raises:
        NotFound: one of them is not there.
    """
    # The stack here would put router solicitations and multicast reports of its own on the guest's wire.
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        Path(f"/proc/sys/net/ipv6/conf/{tap}/disable_ipv6").write_text("1")
    ends = _index(ipr, tap), _index(ipr, interface)
    for here, there in (ends, ends[::-1]):
        _redirect(ipr, here, there)
    ipr.link("set", index=ends[0], state="up")


def usage(ipr: IPRoute, tap: str, interface: str) -> InterfaceUsage:
    """Return a tap's counters from the pod's view: bytes that the tap received are bytes that the guest sent.

    Raises:
        NotFound: there is no such tap.
    """
    (link,) = ipr.get_links(_index(ipr, tap))
    counted = link.get_attr("IFLA_STATS64")
    return InterfaceUsage(
        at=time.time_ns(),
        name=interface,
        **{f"rx_{what}": counted[f"tx_{what}"] for what in _COUNTED},
        **{f"tx_{what}": counted[f"rx_{what}"] for what in _COUNTED},
    )


def _redirect(ipr: IPRoute, here: int, there: int) -> None:
    """Send all frames that arrive at `here` out of `there`. u32, since not every kernel has matchall."""
    with contextlib.suppress(NetlinkError):
        ipr.tc("del", "ingress", index=here, handle=_INGRESS)
    ipr.tc("add", "ingress", index=here, handle=_INGRESS)
    action = {"kind": "mirred", "direction": "egress", "action": "redirect", "ifindex": there}
    ipr.tc(
        "add-filter", "u32", index=here, parent=_INGRESS, prio=1, protocol=_ETH_P_ALL,
        target=0x10000, keys=[_MATCH_ALL], action=action,
    )  # fmt: skip


def _index(ipr: IPRoute, name: str) -> int:
    found = ipr.link_lookup(ifname=name)
    if not found:
        raise NotFound(f"there is no interface {name}")
    return int(found[0])


def _alias(sandbox_id: str) -> str:
    return f"vmsandbox:{sandbox_id}"
