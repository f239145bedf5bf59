"""Network namespaces that callers have made: their interface is joined to a machine, and they stay the callers'."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.network_host import host_network, made_on_host
from tests.fakes.network_contract import new_pod
from vmsandbox.errors import FailedPrecondition, NotFound, Unimplemented
from vmsandbox.network import Network, namespace, netns_of
from vmsandbox.protocol.messages import Route

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: run as root")

NAME = f"vmsjoin{os.getpid() % 250}"


def ip(*words: str) -> None:
    subprocess.run(["ip", "-n", NAME, *words], check=True)


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with host_network(tmp_path) as network:
        yield network


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A namespace with `lo` alone."""
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    yield Path("/run/netns", NAME)
    subprocess.run(["ip", "netns", "delete", NAME], check=True)


def add_interface(name: str, address: str = "") -> None:
    ip(
        "link",
        "add",
        name,
        "mtu",
        "1400",
        "address",
        "02:00:00:00:00:07",
        "type",
        "veth",
        "peer",
        "name",
        f"{name}-peer",
    )
    ip("link", "set", f"{name}-peer", "netns", str(os.getpid()))
    if address:
        ip("address", "add", address, "dev", name)
    ip("link", "set", name, "up")


async def test_its_interface_is_taken_over_under_a_name_of_ours_and_it_stays(network: Network, theirs: Path) -> None:
    pod = new_pod()
    add_interface("net7", "10.200.1.7/24")
    ip("route", "add", "default", "via", "10.200.1.1")
    joined = await network.join(pod.sandbox_id, theirs)
    assert joined is not None
    interface = joined.interface
    assert (interface.name, interface.mac, interface.mtu) == ("net7", "02:00:00:00:00:07", 1400)
    assert interface.addresses == ("10.200.1.7/24",) and Route("0.0.0.0/0", "10.200.1.1") in interface.routes
    assert Path(joined.netns) == netns_of(pod.sandbox_id) and os.path.samefile(joined.netns, theirs)
    await network.connect_tap(joined)
    assert (await network.usage(joined)).name == "net7"
    await network.tear_down(pod.sandbox_id)
    assert await made_on_host(pod.sandbox_id) == []
    names = await namespace.run("list", lambda ipr: [link.get_attr("IFLA_IFNAME") for link in ipr.get_links()], theirs)
    assert sorted(names) == ["lo", "net7"]


async def test_one_without_an_interface_gives_none_and_nothing_is_kept(network: Network, theirs: Path) -> None:
    pod = new_pod()
    ip("link", "add", "down", "type", "veth", "peer", "name", "down-too")
    assert await network.join(pod.sandbox_id, theirs) is None
    assert await made_on_host(pod.sandbox_id) == []


async def test_one_that_cannot_be_taken_over_is_an_error_and_nothing_is_kept(network: Network, theirs: Path) -> None:
    pod = new_pod()
    with pytest.raises(NotFound, match="/run/netns/nobody"):
        await network.join(pod.sandbox_id, Path("/run/netns/nobody"))
    add_interface("one")
    with pytest.raises(FailedPrecondition, match="no address"):
        await network.join(pod.sandbox_id, theirs)
    add_interface("two", "10.200.1.8/24")
    with pytest.raises(Unimplemented, match=r"2 interfaces \((one, two|two, one)\)"):
        await network.join(pod.sandbox_id, theirs)
    assert await made_on_host(pod.sandbox_id) == []
