"""A stand-in for a guest: a namespace whose kernel has taken the pod's interface over, behind the pod's tap.

As a machine does, it opens the pod's tap while that is in the host's namespace, and sets MAC, MTU, addresses and
routes of its own interface to what `PodNetwork.interface` says. In place of QEMU a loop carries the frames.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from vmsandbox.model import PodNetwork
from vmsandbox.network import Network, namespace
from vmsandbox.protocol.messages import Interface

_TUNSETIFF = 0x400454CA
_TAP_NO_PI_VNET_HDR = 0x0002 | 0x1000 | 0x4000
"""The flags that QEMU opens a tap of a virtio-net device with."""

_DAD_FAILED = 0x08
_TENTATIVE = 0x40

_FRAME = 128 * 1024


@dataclass(frozen=True, slots=True)
class Guest:
    """A pod whose "machine" runs."""

    network: PodNetwork
    path: Path
    """The namespace that stands for the guest's kernel."""

    @property
    def addresses(self) -> list[str]:
        return [str(ip_interface(address).ip) for address in self.network.interface.addresses]

    async def run(self, work: Callable[[], Any]) -> Any:
        """Do something in the guest, e.g. make a socket: it stays the guest's wherever it is used."""
        return await namespace.run("work in the guest", lambda _: work(), self.path)


@asynccontextmanager
async def running_guest(network: Network, pod_network: PodNetwork) -> AsyncIterator[Guest]:
    """Start the stand-in as a sandbox starts its machine: open the tap, connect it, bring the interface up."""
    path = namespace.DIRECTORY / f"vmstest-{uuid.uuid4().hex[:8]}"
    async with contextlib.AsyncExitStack() as stack:
        outside = _open_tap(pod_network.tap)
        stack.callback(os.close, outside)
        await namespace.create(path)
        stack.push_async_callback(namespace.remove, path)
        await network.connect_tap(pod_network)
        inside = await namespace.run("open the guest's tap", lambda _: _open_tap("eth0"), path)
        stack.callback(os.close, inside)
        stack.enter_context(_carrying_frames(inside, outside))
        await namespace.run("set the guest's interface up", lambda ipr: _take_over(ipr, pod_network.interface), path)
        while await namespace.run("look for tentative addresses", _is_settling, path):
            await asyncio.sleep(0.05)
        yield Guest(pod_network, path)


def _open_tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_NO_PI_VNET_HDR))
    return fd


@contextlib.contextmanager
def _carrying_frames(one: int, two: int) -> Any:
    loop = asyncio.get_running_loop()
    loop.add_reader(one, _carry, one, two)
    loop.add_reader(two, _carry, two, one)
    try:
        yield
    finally:
        loop.remove_reader(one)
        loop.remove_reader(two)


def _carry(source: int, target: int) -> None:
    with contextlib.suppress(BlockingIOError):
        frame = os.read(source, _FRAME)
        with contextlib.suppress(OSError):  # EIO while the interface is down: as on a cut wire, the frame is lost
            os.write(target, frame)


def _take_over(ipr: IPRoute, interface: Interface) -> None:
    (index,) = ipr.link_lookup(ifname=interface.name)
    ipr.link("set", index=index, address=interface.mac, mtu=interface.mtu)
    ipr.link("set", index=index, state="up")
    for address in map(ip_interface, interface.addresses):
        ipr.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)
    for route in interface.routes:
        via = {"gateway": route.gateway} if route.gateway else {"scope": 253}
        ipr.route("add", dst=route.destination, oif=index, **via)


def _is_settling(ipr: IPRoute) -> bool:
    """Whether duplicate address detection still runs; it must not find the addresses that the pod's namespace keeps."""
    flags = [int(message.get_attr("IFA_FLAGS")) for message in ipr.get_addr()]
    assert not any(flag & _DAD_FAILED for flag in flags)
    return any(flag & _TENTATIVE for flag in flags)
