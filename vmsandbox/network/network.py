"""The networks of all pods: made, connected to their machines, and given back."""

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from vmsandbox import aio, log
from vmsandbox.config import NetworkConfig
from vmsandbox.errors import AlreadyExists, VmsandboxError
from vmsandbox.model import Finding, InterfaceUsage, PodNetwork, PortMapping
from vmsandbox.network import config, interface, namespace, result, tap
from vmsandbox.network.attachment import INTERFACE, CniAttachment, PodIdentity, capability_arguments, check_identity
from vmsandbox.network.attachment_store import AttachmentStore
from vmsandbox.network.cni import Cni, findings
from vmsandbox.network.config import NetworkList

_log = log.get(__name__)

_READ_AT_ONCE = 4
"""Pods whose counters are read at the same time: threads that all work keep the event loop waiting for its turn."""


class Network:
    """Makes each pod's namespace, attaches it by CNI and joins it to the tap of the pod's machine.

    Calls for different sandboxes run concurrently; the caller sees to it that those for one sandbox do not.
    """

    def __init__(self, settings: NetworkConfig, directory: Path, *, tap_in_pod: bool = False) -> None:
        """Nothing is made or read before the first call.

        Args:
            settings: where CNI's files are, how long a plugin may take, and the built-in network.
            directory: is this object's own: what each pod was attached with, and the leases of the built-in network.
            tap_in_pod: make a pod's tap in its namespace, where QEMU is started; else in the host's, and `connect_tap`
                moves it.
        """
        self.configure(settings)
        self._directory = directory
        self._tap_in_pod = tap_in_pod
        self._attachments = AttachmentStore(directory / "attachments")
        self._reading = asyncio.Semaphore(_READ_AT_ONCE)

    def configure(self, settings: NetworkConfig) -> None:
        """Use other settings from now on. A pod that is attached keeps its network, which is recorded."""
        self._settings = settings
        self._cni = Cni(settings.plugin_directories, settings.plugin_timeout)

    async def make_tap(self, sandbox_id: str) -> str:
        """Make the tap of a machine that waits for its pod, in the host's namespace, and return its name.

        Until `connect_tap` it is down, so that nothing passes it. `tear_down` gives it back.

        Raises:
            AlreadyExists: an interface of that name exists.
        """
        return await namespace.run("make the tap", lambda ipr: tap.create(ipr, sandbox_id, tap.MTU))

    async def set_up(
        self, pod: PodIdentity, port_mappings: Sequence[PortMapping] = (), *, tap_made: bool = False
    ) -> PodNetwork:
        """Make the pod's namespace, attach it to the host's CNI network and make its tap; settings say where.

        On failure and on cancellation everything is given back before it is raised. What could not be given back
        (a plugin's DEL fails also) is logged, stays recorded, and `tear_down` may be tried again.

        Args:
            pod: whose network it is; its sandbox id must not have been set up before.
            port_mappings: ports of the host that lead to the pod; those without a host port are left out.
            tap_made: `make_tap` has made its tap.

        Raises:
            InvalidArgument: the identity cannot be told to plugins.
            AlreadyExists: the sandbox has a network.
            FailedPrecondition: CNI configuration or plugins are missing or wrong.
            ResourceExhausted: the record cannot be written.
            Unavailable, DeadlineExceeded: a plugin failed or hung.
        """
        check_identity(pod)
        if self._attachments.load(pod.sandbox_id) is not None:
            raise AlreadyExists(f"sandbox {pod.sandbox_id} has a network")
        network = self.network_list()
        self._cni.require(network)
        arguments = capability_arguments(network, port_mappings)
        attachment = CniAttachment(pod, network, str(netns_of(pod.sandbox_id)), arguments)
        try:
            return await self._attach(attachment, tap_made=tap_made)
        except BaseException as error:
            await aio.to_its_end(self._give_back(pod.sandbox_id))
            if isinstance(error, VmsandboxError):
                error.at("network")
            raise

    async def join(self, sandbox_id: str, source: Path, *, tap_made: bool = False) -> PodNetwork | None:
        """Take over a namespace that is ready: its one interface, addresses and routes. Otherwise as `set_up`.

        The namespace gets a name of ours, so that it is there until `tear_down`.

        Args:
            sandbox_id: whose network it is.
            source: of the namespace, which stays the caller's.
            tap_made: as for `set_up`.

        Returns:
            None if the namespace has no interface: then nothing is kept of it, and a tap stays where it is.

        Raises:
            NotFound: there is no such namespace.
            Unimplemented: it has several interfaces.
            FailedPrecondition: its interface has no address.
        """
        try:
            return await self._join(sandbox_id, source, tap_made=tap_made)
        except BaseException as error:
            await aio.to_its_end(self._give_back(sandbox_id))
            if isinstance(error, VmsandboxError):
                error.at("network")
            raise

    async def connect_tap(self, network: PodNetwork) -> None:
        """Move the tap, which the hypervisor has opened by now, into the pod's namespace and join it to the pod's end.

        May be repeated.

        Raises:
            NotFound: tap or namespace is gone.
        """
        path = Path(network.netns)
        await namespace.run(f"move {network.tap} to {path}", lambda ipr: tap.move(ipr, network.tap, path))
        name = network.interface.name
        step = f"join {network.tap} to {name} in {path}"
        await namespace.run(step, lambda ipr: tap.connect(ipr, network.tap, name), path)

    async def usage(self, network: PodNetwork) -> InterfaceUsage:
        """Return the host's counters of a pod whose tap is connected.

        Raises:
            NotFound: tap or namespace is gone.
        """
        name, path = network.interface.name, Path(network.netns)
        step = f"read the counters of {network.tap} in {path}"
        async with self._reading:
            return await namespace.run(step, lambda ipr: tap.usage(ipr, network.tap, name), path)

    async def tear_down(self, sandbox_id: str) -> None:
        """Give back all that `set_up` made. The machine must have ended. Succeeds where there is nothing (any more).

        Needs the id alone: it also clears up after a process that was killed inside `set_up`. Where a plugin fails
        the tap is removed and the namespace and the record stay, so that the next call can finish.

        Raises:
            VmsandboxError: a plugin failed; see `plugin.call`.
        """
        path = netns_of(sandbox_id)
        await self._delete_tap(sandbox_id, path)
        attachment = self._attachments.load(sandbox_id)
        if attachment is not None:
            await self._cni.delete(attachment, str(path) if namespace.exists(path) else "")
        await namespace.remove(path)
        self._attachments.delete(sandbox_id)

    def attached(self) -> tuple[str, ...]:
        """The ids of the sandboxes that have a network, or had part of one when a process was killed."""
        return self._attachments.list()

    async def check(self) -> tuple[Finding, ...]:
        """Return the findings about the network: the list that applies and each of its plugins."""
        return await findings(self.network_list, self._cni)

    async def ready(self) -> None:
        """Return when pods can be attached now (CRI NetworkReady); as cheap as the plugins' own STATUS.

        Raises:
            FailedPrecondition: configuration or plugins are missing or wrong.
            VmsandboxError: a plugin says that it is not ready.
        """
        network = self.network_list()
        self._cni.require(network)
        await self._cni.status(network)

    def network_list(self) -> NetworkList:
        """The CNI list that a pod would be attached with now. Raises FailedPrecondition where it is broken."""
        leases = self._directory / "leases"
        bridge = config.default_bridge(self._settings.default, leases, _host_speaks_ipv6())
        return config.load(self._settings.config_directory, bridge)

    async def _attach(self, attachment: CniAttachment, *, tap_made: bool) -> PodNetwork:
        path = Path(attachment.netns)
        sandbox_id = attachment.pod.sandbox_id
        await aio.together(self._save(attachment), namespace.create(path))  # teardown finds the namespace by its name
        added = await self._cni.add(attachment)
        told = result.parse(added)
        async with aio.background(self._save(dataclasses.replace(attachment, result=added))) as saving:
            network = await self._with_tap(sandbox_id, INTERFACE, told, made=tap_made)
            await saving
        return network

    async def _join(self, sandbox_id: str, source: Path, *, tap_made: bool) -> PodNetwork | None:
        path = netns_of(sandbox_id)
        await namespace.adopt(source, path)
        name = await namespace.run(f"list the interfaces in {source}", interface.only, path)
        if name:
            return await self._with_tap(sandbox_id, name, result.Result(), made=tap_made)
        await namespace.remove(path)
        return None

    async def _with_tap(self, sandbox_id: str, name: str, told: result.Result, *, made: bool) -> PodNetwork:
        """Read the interface that is in the sandbox's namespace, and make the tap that is to be joined to it.

        One that is `made` is in the host's namespace, and gets the interface's MTU.
        """
        path = netns_of(sandbox_id)
        taken_over = await namespace.run(
            f"read {name} in {path}", lambda ipr: interface.read(ipr, name, told.addresses), path
        )
        mtu = taken_over.mtu
        if not made:
            where = path if self._tap_in_pod else None
            await namespace.run("make the tap", lambda ipr: tap.create(ipr, sandbox_id, mtu), where)
        elif mtu != tap.MTU:
            await namespace.run("set the tap's MTU", lambda ipr: tap.resize(ipr, sandbox_id, mtu))
        return PodNetwork(str(path), tap.name_of(sandbox_id), taken_over, told.dns)

    async def _save(self, attachment: CniAttachment) -> None:
        # To its end: a save that is abandoned half-way would come after the record's deletion.
        await aio.to_its_end(asyncio.to_thread(self._attachments.save, attachment))

    async def _delete_tap(self, sandbox_id: str, path: Path) -> None:
        """Delete the tap where it is: in the host's namespace, or in the pod's after `connect_tap`."""
        for where in (None, path) if namespace.exists(path) else (None,):
            await namespace.run("delete the tap", lambda ipr: tap.delete(ipr, sandbox_id), where)

    async def _give_back(self, sandbox_id: str) -> None:
        try:
            await self.tear_down(sandbox_id)
        except VmsandboxError as error:
            _log.error("sandbox %s: its network is not completely given back: %s", sandbox_id, error)


def netns_of(sandbox_id: str) -> Path:
    """Path of a sandbox's network namespace."""
    return namespace.DIRECTORY / f"vmsandbox-{sandbox_id}"


def _host_speaks_ipv6() -> bool:
    try:
        return Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").read_text().strip() == "0"
    except FileNotFoundError:
        return False
