"""CNI network configuration: which list applies, and what each plugin of it is told (CNI spec 1.1, section 1 and 3).

A list is read as libcni reads it: the first file by name of the directory that ends in .conflist, .conf or .json; a
single plugin's configuration is a list of one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmsandbox.config import BridgeConfig
from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs.opening import MEBIBYTE, read_regular
from vmsandbox.protocol.codec import JSON

BUILT_IN = "vmsandbox"
"""The name of the network that pods get on a host without a CNI configuration; its leases are in a directory of it."""

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""The versions of the specification that are spoken, in their order."""

_ENDINGS = (".conf", ".conflist", ".json")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class NetworkList:
    """A network: plugins that are called in this order, and in the reverse order to undo."""

    name: str
    version: str
    """cniVersion: how plugins and runtime speak."""
    plugins: tuple[JSON, ...]
    source: str
    """The file it was read from, for messages."""

    def speaks(self, version: str) -> bool:
        """Whether the list's version is at least that one."""
        return VERSIONS.index(self.version) >= VERSIONS.index(version)

    def advertises(self, capability: str) -> bool:
        """Whether any plugin takes that capability's argument."""
        return any(_takes(plugin, capability) for plugin in self.plugins)


def load(directory: Path, bridge: NetworkList) -> NetworkList:
    """The list that applies to pods: the first of the directory, or `bridge` where there is none.

    Raises:
        FailedPrecondition: the first file cannot be understood; a broken file is not passed over for the next.
    """
    files = sorted(path for path in directory.glob("*") if path.suffix in _ENDINGS and path.is_file())
    return parse(_read(files[0]), str(files[0])) if files else bridge


def _read(path: Path) -> str:
    try:
        return read_regular(path, MEBIBYTE, follow=True).decode(errors="replace")
    except OSError as error:
        raise FailedPrecondition(f"the CNI configuration {path} cannot be read: {error.strerror}") from None


def parse(text: str, source: str) -> NetworkList:
    """The network that a configuration file describes. Raises FailedPrecondition, naming `source` and the fault."""
    try:
        return _parse(json.loads(text), source)
    except (ValueError, RecursionError) as error:
        raise FailedPrecondition(f"the CNI configuration {source} is not usable: {error}") from None


def _parse(data: JSON, source: str) -> NetworkList:
    if not isinstance(data, dict):
        raise ValueError("it is not a JSON object")
    plugins = data.get("plugins", [data]) if not source.endswith(".conflist") else data.get("plugins")
    if not isinstance(plugins, list) or not plugins:
        raise ValueError("`plugins` is not a list of at least one plugin")
    for place, plugin in enumerate(plugins):
        _check_plugin(plugin, f"plugins[{place}]")
    name = data.get("name", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"`name` {name!r} is not letters, digits, underscore, dot and hyphen")
    return NetworkList(name, _version(data), tuple(plugins), source)


def _check_plugin(plugin: JSON, where: str) -> None:
    kind = plugin.get("type") if isinstance(plugin, dict) else None
    if not isinstance(kind, str) or not kind or "/" in kind:
        raise ValueError(f"`{where}.type` does not name a plugin")
    if not isinstance(plugin.get("capabilities", {}), dict):
        raise ValueError(f"`{where}.capabilities` is not an object")


def _version(data: Mapping[str, Any]) -> str:
    """The highest version that the list offers (`cniVersions`, since 1.1.0) and this runtime speaks."""
    offered = data.get("cniVersions", [])
    if not isinstance(offered, list):
        raise ValueError("`cniVersions` is not a list")
    offered = [data.get("cniVersion", VERSIONS[0]), *offered]
    spoken = [version for version in VERSIONS if version in offered]
    if not spoken:
        raise ValueError(
            f"cniVersion {', '.join(map(str, offered))} is not supported; supported are {', '.join(VERSIONS)}"
        )
    return spoken[-1]


def invocation(network: NetworkList, plugin: JSON, previous: JSON, arguments: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the standard input of a plugin (CNI spec, "Deriving execution configuration").

    Args:
        network: the list that the plugin is of.
        plugin: its own configuration.
        previous: the result of the plugin before it, None where there is none.
        arguments: capability arguments; the plugin gets those whose capability it advertises.
    """
    configuration = {**plugin, "name": network.name, "cniVersion": network.version}
    if previous is not None:
        configuration["prevResult"] = previous
    runtime = {key: value for key, value in arguments.items() if _takes(plugin, key)}
    if runtime:
        configuration["runtimeConfig"] = runtime
    return configuration


def _takes(plugin: JSON, capability: str) -> bool:
    return plugin.get("capabilities", {}).get(capability) is True


def default_bridge(bridge: BridgeConfig, leases: Path, ipv6: bool) -> NetworkList:
    """The network for a host without a CNI configuration: a bridge with masquerade, and host ports.

    A pod sends from the MAC that it was given, and from no other (the plugin's macspoofchk, since 1.1, by nftables): it
    cannot take what is for another pod by making the bridge learn that pod's MAC. Which IP addresses it sends from, and
    what it says in ARP and neighbour discovery, nobody checks.

    Args:
        bridge: its name, and its subnets.
        leases: directory in which host-local keeps who has which address.
        ipv6: whether the host's kernel speaks IPv6.
    """
    subnets = {bridge.subnet_v4: "0.0.0.0/0"}
    if ipv6 and bridge.subnet_v6:
        subnets[bridge.subnet_v6] = "::/0"
    ipam = {
        "type": "host-local",
        "dataDir": str(leases),
        "ranges": [[{"subnet": subnet}] for subnet in subnets],
        "routes": [{"dst": destination} for destination in subnets.values()],
    }
    plugin = {
        "type": "bridge", "bridge": bridge.bridge, "isGateway": True, "ipMasq": True, "hairpinMode": True,
        "macspoofchk": True, "ipam": ipam,
    }  # fmt: skip
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return NetworkList(BUILT_IN, "1.0.0", (plugin, portmap), "the built-in bridge network")
