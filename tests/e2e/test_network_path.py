"""Frames between pods, host and world, by real plugins and kernels; a namespace plays the guest's part."""

import asyncio
import contextlib
import errno
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.network_guest import Guest, running_guest
from tests.e2e.network_host import BRIDGE, GATEWAY_V4, delete_link, host_network
from tests.fakes.network_contract import new_pod
from vmsandbox.config import NetworkConfig
from vmsandbox.model import PortMapping
from vmsandbox.network import Network, namespace

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: run as root"),
    pytest.mark.asyncio(loop_scope="module"),
]

PORT = 8080
HOST_PORT = 18198
Doing = Callable[[Callable[[], socket.socket]], Awaitable[socket.socket]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pods(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Guest, Guest]]:
    """Two pods with their machines; the first serves HOST_PORT."""
    async with contextlib.AsyncExitStack() as stack:
        network = await stack.enter_async_context(host_network(tmp_path_factory.mktemp("network")))
        one = await start(stack, network, PortMapping(PORT, HOST_PORT))
        yield one, await start(stack, network)


async def start(stack: contextlib.AsyncExitStack, network: Network, *mappings: PortMapping) -> Guest:
    made = await network.set_up(new_pod(), mappings)
    return await stack.enter_async_context(running_guest(network, made))


async def on_host(work: Callable[[], socket.socket]) -> socket.socket:
    return work()


@contextlib.asynccontextmanager
async def serving(doing: Doing, address: str, seen: list[str] | None = None) -> AsyncIterator[int]:
    """A server that echoes what a client sends; yields its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if seen is not None:
            seen.append(writer.get_extra_info("peername")[0])
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
        writer.close()

    listening = await doing(lambda: listener(address))
    server = await asyncio.start_server(echo, sock=listening)
    async with server:
        yield listening.getsockname()[1]


def listener(address: str) -> socket.socket:
    made = socket.socket(family_of(address))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, PORT))
    made.listen()
    made.setblocking(False)
    return made


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET


async def echoed(doing: Doing, address: str, port: int, data: bytes) -> bytes:
    """Return the answer when a client of `doing` sends `data` there."""
    client = await doing(lambda: socket.socket(family_of(address)))
    client.setblocking(False)
    async with asyncio.timeout(60), contextlib.AsyncExitStack() as stack:
        stack.callback(client.close)
        await asyncio.get_running_loop().sock_connect(client, (address, port))
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(data)
        writer.write_eof()
        stack.push_async_callback(writer.wait_closed)
        stack.callback(writer.close)
        return await reader.read()


@pytest.mark.parametrize("version", [4, 6])
async def test_two_pods_reach_each_other(pods: tuple[Guest, Guest], version: int) -> None:
    one, two = pods
    address = address_of(one, version)
    data = os.urandom(1024 * 1024)
    async with serving(one.run, address) as port:
        assert await echoed(two.run, address, port, data) == data


@pytest.mark.parametrize("version", [4, 6])
async def test_the_host_reaches_a_pod(pods: tuple[Guest, Guest], version: int) -> None:
    address = address_of(pods[0], version)
    async with serving(pods[0].run, address) as port:
        assert await echoed(on_host, address, port, b"from the host") == b"from the host"


@pytest.mark.parametrize("version", [4, 6])
async def test_a_pod_reaches_the_host(pods: tuple[Guest, Guest], version: int) -> None:
    (gateway,) = [
        route.gateway
        for route in pods[0].network.interface.routes
        if route.gateway and ip_address(route.gateway).version == version
    ]
    async with serving(on_host, gateway) as port:
        assert await echoed(pods[0].run, gateway, port, b"from the pod") == b"from the pod"


async def test_a_frame_from_a_mac_that_is_not_the_pod_s_does_not_leave_it(pods: tuple[Guest, Guest]) -> None:
    """Neither that of another pod, whose frames it would get from then on, nor any other."""
    one, two = pods
    own, other, any_other = (bytes.fromhex(mac.replace(":", "")) for mac in (
        one.network.interface.mac, two.network.interface.mac, "02:00:5e:00:53:01",
    ))  # fmt: skip
    seen = await on_host(lambda: raw_socket(BRIDGE.bridge))
    sending = await one.run(lambda: raw_socket("eth0"))
    with seen, sending:
        for source in (other, any_other, own):
            await asyncio.get_running_loop().sock_sendall(sending, ETHERNET_BROADCAST + source + EXPERIMENT + bytes(50))
        async with asyncio.timeout(10):
            frame = await asyncio.get_running_loop().sock_recv(seen, 100)
    assert frame[6:12] == own, "the first that comes through is the last that was sent"


ETHERNET_BROADCAST = b"\xff" * 6
EXPERIMENT = b"\x88\xb5"
"""An EtherType for experiments (IEEE 802)."""


def raw_socket(interface: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    made.bind((interface, int.from_bytes(EXPERIMENT, "big")))
    made.setblocking(False)
    return made


@pytest.mark.parametrize("sender", ["pod", "host"])
async def test_what_a_pod_sends_and_receives_is_counted_apart(pods: tuple[Guest, Guest], sender: str) -> None:
    network, address = Network(NetworkConfig(), Path("/nonexistent")), address_of(pods[1], 4)
    before = await network.usage(pods[1].network)
    send = pods[1].run if sender == "pod" else on_host
    with await send(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sending:
        for _ in range(200):
            sending.sendto(bytes(1000), (GATEWAY_V4 if sender == "pod" else address, 9))
            await asyncio.sleep(0)
    after = await network.usage(pods[1].network)
    sent, received = after.tx_bytes - before.tx_bytes, after.rx_bytes - before.rx_bytes
    one_way, other_way = (sent, received) if sender == "pod" else (received, sent)
    assert 200 * 1000 <= one_way < 250 * 1000
    assert other_way < 20 * 1000, "but for what tells that nobody listens"


@pytest.mark.parametrize("address", [GATEWAY_V4, "127.0.0.1"], ids=["bridge", "localhost"])
async def test_a_port_of_the_host_leads_to_the_pod(pods: tuple[Guest, Guest], address: str) -> None:
    async with serving(pods[0].run, address_of(pods[0], 4)):
        assert await echoed(on_host, address, HOST_PORT, b"by the host port") == b"by the host port"


def address_of(guest: Guest, version: int) -> str:
    (address,) = [address for address in guest.addresses if ip_address(address).version == version]
    return address


@pytest.mark.parametrize("version", [4, 6])
async def test_the_world_sees_a_pod_by_the_hosts_address(pods: tuple[Guest, Guest], version: int) -> None:
    seen: list[str] = []
    async with a_world() as world, serving(world, WORLD[version], seen) as port:
        assert await echoed(pods[0].run, WORLD[version], port, b"hello") == b"hello"
    assert seen == [HOST_TOWARDS_WORLD[version]]


HOST_TOWARDS_WORLD = {4: "198.51.100.1", 6: "2001:db8:77::1"}
WORLD = {4: "198.51.100.2", 6: "2001:db8:77::2"}


@contextlib.asynccontextmanager
async def a_world() -> AsyncIterator[Doing]:
    """A namespace behind another interface of the host, which knows no route to pods."""
    path = namespace.DIRECTORY / "vmstest-world"
    await namespace.create(path)
    try:
        await namespace.run("make the world's link", lambda ipr: link_world(ipr, path))
        await namespace.run("set the world up", lambda ipr: set_up(ipr, "vmsworld1", WORLD), path)
        yield lambda work: namespace.run("work in the world", lambda _: work(), path)
    finally:
        await delete_link("vmsworld0")
        await namespace.remove(path)


def link_world(ipr: Any, path: Path) -> None:
    ipr.link("add", ifname="vmsworld0", kind="veth", peer={"ifname": "vmsworld1", "net_ns_fd": str(path)})
    set_up(ipr, "vmsworld0", HOST_TOWARDS_WORLD)


def set_up(ipr: Any, name: str, addresses: dict[int, str]) -> None:
    (index,) = ipr.link_lookup(ifname=name)
    ipr.link("set", index=index, state="up")
    ipr.addr("add", index=index, address=addresses[4], prefixlen=24)
    ipr.addr("add", index=index, address=addresses[6], prefixlen=64, flags=0x02)  # no duplicate address detection


async def test_a_point_to_point_network_with_a_gateway_off_its_subnet_and_a_small_mtu(tmp_path: Path) -> None:
    plugin = {
        "cniVersion": "1.0.0", "name": "vmsptp", "type": "ptp", "mtu": 1400,
        "ipam": {
            "type": "host-local", "dataDir": str(tmp_path / "leases"), "ranges": [[{"subnet": "10.196.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }  # fmt: skip
    (tmp_path / "10-ptp.conf").write_text(json.dumps(plugin))
    async with host_network(tmp_path, tmp_path) as network, contextlib.AsyncExitStack() as stack:
        one, two = await start(stack, network), await start(stack, network)
        assert one.network.interface.mtu == 1400
        data = os.urandom(100_000)
        async with serving(one.run, one.addresses[0]) as port:
            assert await echoed(two.run, one.addresses[0], port, data) == data
            assert await echoed(on_host, one.addresses[0], port, data) == data


async def test_the_pods_namespace_does_not_answer_in_the_guests_place(tmp_path: Path) -> None:
    async with host_network(tmp_path) as network, contextlib.AsyncExitStack() as stack:
        made = await network.set_up(new_pod())
        address = made.interface.addresses[0].partition("/")[0]
        with pytest.raises(ConnectionRefusedError):  # so far the namespace's stack owns the address
            await echoed(on_host, address, PORT, b"early")
        await stack.enter_async_context(running_guest(network, made))
        await stack.aclose()
        await namespace.run("forget the pod's MAC", lambda ipr: forget_neighbour(ipr, address))
        with pytest.raises(OSError) as raised:
            await echoed(on_host, address, PORT, b"dead")
        assert raised.value.errno == errno.EHOSTUNREACH  # nobody answered ARP


def forget_neighbour(ipr: Any, address: str) -> None:
    (index,) = ipr.link_lookup(ifname=BRIDGE.bridge)
    ipr.neigh("del", dst=address, ifindex=index)
