"""The findings of `vmsandbox check` about the network."""

from collections.abc import Callable

from vmsandbox.errors import VmsandboxError
from vmsandbox.model import Finding
from vmsandbox.network import plugin
from vmsandbox.network.cni import Cni
from vmsandbox.network.config import NetworkList


async def findings(network_list: Callable[[], NetworkList], cni: Cni) -> tuple[Finding, ...]:
    """The list that applies, each plugin of it with those it delegates to, and whether they say they are ready."""
    try:
        network = network_list()
    except VmsandboxError as error:
        return (_bad(error),)
    used = Finding(True, f"pods are attached to network {network.name} (CNI {network.version}), {network.source}")
    plugins = [await _plugin(kind, network.version, cni) for kind in _kinds(network)]
    if not all(found.ok for found in plugins):
        return (used, *plugins)
    try:
        await cni.status(network)
    except VmsandboxError as error:
        return (used, *plugins, _bad(error))
    return (used, *plugins)


def _kinds(network: NetworkList) -> tuple[str, ...]:
    """The plugins of a list, and the IPAM plugins that they call."""
    kinds = []
    for settings in network.plugins:
        ipam = settings.get("ipam")
        kinds += [settings["type"], ipam.get("type") if isinstance(ipam, dict) else None]
    return tuple(dict.fromkeys(str(kind) for kind in kinds if kind))


async def _plugin(kind: str, version: str, cni: Cni) -> Finding:
    try:
        path = plugin.find(kind, cni.directories)
        versions = await cni.versions(kind)
    except VmsandboxError as error:
        return _bad(error)
    if version not in versions:
        return Finding(
            False, f"the CNI plugin {path} does not speak version {version}", f"set cniVersion to {versions[-1]}"
        )
    return Finding(True, f"CNI plugin {path}")


def _bad(error: VmsandboxError) -> Finding:
    return Finding(False, str(error), error.hint)
