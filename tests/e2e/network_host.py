"""Resources that the network's tests make on the host, apart from the defaults, and remove again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support import own
from vmsandbox.config import BridgeConfig, NetworkConfig
from vmsandbox.network import Network, namespace, netns_of, tap

BRIDGE = BridgeConfig(f"vmstest{own.NUMBER}", f"10.197.{own.NUMBER}.0/24", f"fd76:6d73:7465:{own.NUMBER:x}::/64")
GATEWAY_V4 = f"10.197.{own.NUMBER}.1"
"""The host's address on the bridge."""


@asynccontextmanager
async def host_network(directory: Path, configuration: Path | None = None) -> AsyncIterator[Network]:
    """A network by that directory's configuration, else on the built-in bridge under other names than the default's.

    What it made is gone in the end. What the plugins leave on every host stays: ip_forward, and portmap's own
    chains, empty.
    """
    network = Network(NetworkConfig(configuration or directory / "none", default=BRIDGE), directory)
    try:
        yield network
    finally:
        for sandbox_id in network.attached():
            await network.tear_down(sandbox_id)
        await delete_link(BRIDGE.bridge)


async def delete_link(name: str) -> None:
    """Delete an interface of the host. Succeeds where there is none."""
    if await has_link(name):
        await namespace.run(f"delete {name}", lambda ipr: ipr.link("del", index=ipr.link_lookup(ifname=name)[0]))


async def has_link(name: str) -> bool:
    return bool(await namespace.run(f"look for {name}", lambda ipr: ipr.link_lookup(ifname=name)))


async def made_on_host(sandbox_id: str) -> list[str]:
    """Return the resources of a sandbox on the host: namespace and tap."""
    links = [tap.name_of(sandbox_id)] if await has_link(tap.name_of(sandbox_id)) else []
    return links + [str(path) for path in (netns_of(sandbox_id),) if path.exists()]


def leases_in(directory: Path) -> list[str]:
    """The leases of host-local in a directory: its files except those it keeps for itself."""
    if not directory.exists():
        return []
    return [path.name for path in directory.iterdir() if path.name != "lock" and "last_reserved" not in path.name]
