"""The raw block volumes of one machine (CRI ContainerConfig.devices): each plugged in once for all that have it."""

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path

from vmsandbox import aio, log
from vmsandbox.errors import InvalidArgument, VmsandboxError
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.guest import GuestClient
from vmsandbox.hypervisor import Blocks, Disk, Hypervisor
from vmsandbox.model import Device
from vmsandbox.protocol import messages
from vmsandbox.sandbox.blocks.node import BlockNode, FoundDevice, MadeNode, look
from vmsandbox.sandbox.blocks.nodes import BlockNodes
from vmsandbox.sandbox.blocks.sizes import BlockSizes, PluggedDevice

_log = log.get(__name__)


class BlockDisks:
    """Knows the users of each device; plugging and unplugging happen one at a time."""

    def __init__(
        self, nodes: BlockNodes, paths: ForeignPaths, hypervisor: Hypervisor, domain: str, client: GuestClient
    ) -> None:
        """Manage the disks of the machine `domain`; `client` talks to its agent. All arguments stay the caller's."""
        self._nodes = nodes
        self._paths = paths
        self._hypervisor = hypervisor
        self._domain = domain
        self._client = client
        self._plugged: dict[str, PluggedDevice] = {}
        self._lock = asyncio.Lock()
        self._sizes = BlockSizes(nodes, paths, hypervisor, domain)

    async def prepare(self, user: str, wanted: Sequence[Device], *, mapped: bool) -> tuple[messages.GuestDevice, ...]:
        """Plug in what of a container's devices is a block device or a file of the host; the others are the guest's.

        What fails is left to be released.

        Args:
            user: the container.
            wanted: its devices; one without w in `permissions` is opened read-only.
            mapped: whether its pod has a user namespace.

        Raises:
            InvalidArgument: the pod has a user namespace; or as `BlockNodes.make`.
            DeadlineExceeded: a device does not answer.
            VmsandboxError: as `BlockNodes.make`; the machine does not take it.
        """
        return tuple([await self._prepare(user, device, mapped=mapped) for device in wanted])

    async def adopt(self, serial: str, user: str) -> None:
        """Take over a device that another process has plugged in for `user`. Does nothing where it is gone."""
        async with self._lock:
            nodes = {node.serial: node for node in await asyncio.to_thread(self._nodes.all)}
            if serial in nodes:
                self._plugged.setdefault(serial, PluggedDevice(nodes[serial])).users.add(user)
                self._sizes.follow(self._adapt_all)

    async def drop_strangers(self) -> None:
        """Unplug what another process has plugged in for nobody that is left. What stays plugged in is logged."""
        async with self._lock:
            for node in await asyncio.to_thread(self._nodes.all):
                if node.serial not in self._plugged:
                    try:
                        await self._unplug(node.serial)
                    except VmsandboxError as error:
                        _log.warning("disk %s of machine %s stays plugged in: %s", node.serial, self._domain, error)

    def of(self, user: str) -> tuple[str, ...]:
        """The serials of what `user` has."""
        return tuple(serial for serial, plugged in self._plugged.items() if user in plugged.users)

    async def release_all(self, user: str) -> None:
        """Let go of all that `user` has; what has no other user is written back and unplugged. Can be repeated.

        Raises:
            DeadlineExceeded: the guest has not written it back in time; it stays plugged in.
            VmsandboxError: the guest does not let it go.
        """
        async with self._lock:
            for plugged in self._plugged.values():
                plugged.users.discard(user)
            failures = [failure for failure in [await self._drop(serial) for serial in self._unused()] if failure]
        if failures:
            raise failures[0]

    async def write_back(self) -> None:
        """Have the guest write everything back, since its machine is about to end. What fails is logged."""
        async with self._lock:
            written = [serial for serial, plugged in self._plugged.items() if plugged.node.writable]
            await asyncio.gather(*map(self._write_back, written))

    async def close(self) -> None:
        """Follow no sizes any more: the machine has ended, or goes on without this process."""
        await self._sizes.close()

    async def _prepare(self, user: str, device: Device, *, mapped: bool) -> messages.GuestDevice:
        path = Path(device.host_path)
        found = await self._paths.call(path, lambda: look(path), late=_let_go)
        if found is None:
            return messages.GuestDevice(device.container_path, device.host_path, device.permissions)
        with contextlib.closing(found):
            if mapped:
                raise InvalidArgument(
                    f"the raw block volume {path}: a pod with a user namespace (hostUsers: false) cannot have one"
                )
            serial = await self._acquire(user, found, write="w" in device.permissions)
            status = found.status
        return messages.GuestDevice(
            device.container_path,
            permissions=device.permissions,
            disk=serial,
            mode=status.st_mode & 0o777,
            uid=status.st_uid,
            gid=status.st_gid,
        )

    async def _acquire(self, user: str, found: FoundDevice, *, write: bool) -> str:
        async with self._lock:
            node = await self._paths.call(found.path, lambda: self._nodes.existing(found, write=write))
            if node is None or node.serial not in self._plugged:
                node = await self._plug(found, write=write)
            plugged = self._plugged[node.serial]
            plugged.users.add(user)
            await self._sizes.adapt(plugged)
        self._sizes.follow(self._adapt_all)
        return node.serial

    async def _plug(self, found: FoundDevice, *, write: bool) -> BlockNode:
        serial = secrets.token_hex(16)
        made = await self._paths.call(
            found.path, lambda: self._nodes.make(found, serial, write=write), late=MadeNode.undo
        )
        node, like = made.node, made.geometry
        disk = Disk(
            serial, node.path, readonly=not node.writable, blocks=Blocks(like.logical_block, like.physical_block)
        )
        try:
            await self._hypervisor.attach_disk(self._domain, disk)
        except BaseException:
            await aio.to_its_end(self._take_back(serial))
            raise
        finally:
            made.close()
        self._plugged[serial] = PluggedDevice(node, like.size)
        return node

    async def _take_back(self, serial: str) -> None:
        """Unplug a disk that was only half plugged in: the guest has written nothing to it."""
        with contextlib.suppress(VmsandboxError):
            await self._hypervisor.detach_disk(self._domain, serial)
        await asyncio.to_thread(self._nodes.remove, serial)

    async def _write_back(self, serial: str) -> None:
        try:
            await self._client.release_disk(serial)
        except VmsandboxError as error:
            _log.warning("machine %s has not written its disk %s back: %s", self._domain, serial, error)

    def _unused(self) -> list[str]:
        return [serial for serial, plugged in self._plugged.items() if not plugged.users]

    async def _drop(self, serial: str) -> VmsandboxError | None:
        """Unplug a device; why it stays, where it does."""
        try:
            await self._unplug(serial)
        except VmsandboxError as error:
            return error
        del self._plugged[serial]
        return None

    async def _unplug(self, serial: str) -> None:
        await self._client.release_disk(serial)
        await self._hypervisor.detach_disk(self._domain, serial)
        await asyncio.to_thread(self._nodes.remove, serial)

    async def _adapt_all(self) -> None:
        async with self._lock:
            for plugged in self._plugged.values():
                await self._sizes.adapt(plugged)


def _let_go(found: FoundDevice | None) -> None:
    if found is not None:
        found.close()
