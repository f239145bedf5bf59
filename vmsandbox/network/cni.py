"""A pod is attached to a network and detached from it: the plugins of a list, in order (CNI spec 1.1, section 3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import log
from vmsandbox.errors import VmsandboxError
from vmsandbox.model import Finding
from vmsandbox.network import config, plugin
from vmsandbox.network.attachment import CniAttachment
from vmsandbox.network.config import NetworkList
from vmsandbox.protocol.codec import JSON

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Cni:
    """How plugins are called."""

    directories: Sequence[Path]
    timeout: float
    """Seconds for each call."""

    def require(self, network: NetworkList) -> None:
        """Raise FailedPrecondition where a plugin of the list is not installed: then not even DEL could be called."""
        for settings in network.plugins:
            plugin.find(settings["type"], self.directories)

    async def add(self, attachment: CniAttachment) -> JSON:
        """Call ADD of every plugin, each with the result of the one before; the result is the last one's.

        On an error the plugins called so far have to be undone with `delete`.

        Raises:
            VmsandboxError: a plugin failed; see `plugin.call`.
        """
        result: JSON = None
        for settings in attachment.network.plugins:
            result = await self._call("ADD", attachment, settings, result, attachment.netns) or result
        return result

    async def delete(self, attachment: CniAttachment, netns: str) -> None:
        """Call DEL of every plugin in the reverse order, with the result of ADD. May be repeated.

        A plugin that fails does not keep the others from being called.

        Args:
            attachment: as it was recorded.
            netns: path of the namespace, empty where it is gone.

        Raises:
            VmsandboxError: the first plugin that failed.
        """
        # Before 0.4.0 plugins are given no result on DEL.
        result = attachment.result if attachment.network.speaks("0.4.0") else None
        errors: list[VmsandboxError] = []
        for settings in reversed(attachment.network.plugins):
            try:
                await self._call("DEL", attachment, settings, result, netns)
            except VmsandboxError as error:
                _log.warning("sandbox %s: %s", attachment.pod.sandbox_id, error)
                errors.append(error)
        if errors:
            raise errors[0]

    async def versions(self, kind: str) -> tuple[str, ...]:
        """The versions of the specification that a plugin speaks (VERSION)."""
        answer = await plugin.call(
            kind, "VERSION", {"cniVersion": config.VERSIONS[-1]},
            parameters={}, directories=self.directories, timeout=self.timeout,
        )  # fmt: skip
        # Before 0.2.0 there was no VERSION, and no list of versions in the answer.
        return tuple(map(str, (answer or {}).get("supportedVersions") or ("0.1.0",)))

    async def status(self, network: NetworkList) -> None:
        """Ask every plugin whether it is ready for ADD (STATUS, since 1.1.0). Raises as `plugin.call`."""
        if not network.speaks("1.1.0"):
            return
        for settings in network.plugins:
            configuration = config.invocation(network, settings, None, {})
            await plugin.call(
                settings["type"], "STATUS", configuration,
                parameters={}, directories=self.directories, timeout=self.timeout,
            )  # fmt: skip

    async def _call(self, command: str, attachment: CniAttachment, settings: JSON, previous: JSON, netns: str) -> JSON:
        configuration = config.invocation(attachment.network, settings, previous, attachment.arguments)
        parameters = attachment.parameters(netns)
        return await plugin.call(
            settings["type"], command, configuration,
            parameters=parameters, directories=self.directories, timeout=self.timeout,
        )  # fmt: skip


async def findings(network_list: Callable[[], NetworkList], cni: Cni) -> tuple[Finding, ...]:
    """Return the findings about the list that applies, its plugins, and the plugins that they delegate to."""
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
