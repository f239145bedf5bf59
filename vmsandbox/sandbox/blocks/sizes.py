"""The sizes of raw block volumes: told to the guest when they change on the host (CSI ControllerExpandVolume).

The CRI has no call for a volume that was expanded, so the sizes are compared at intervals.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from vmsandbox import aio, log
from vmsandbox.errors import VmsandboxError
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.hypervisor import Hypervisor
from vmsandbox.sandbox.blocks.node import BlockNode
from vmsandbox.sandbox.blocks.nodes import BlockNodes

_log = log.get(__name__)

INTERVAL = 5.0
"""Seconds between two looks."""


@dataclass(slots=True)
class PluggedDevice:
    """A device in a machine."""

    node: BlockNode
    size: int = 0
    """Bytes that the guest was told of; 0: another process has told it."""
    users: set[str] = field(default_factory=set)
    """The containers that have it."""
    complained: bool = False
    """Whether it was logged that its size cannot be told."""


class BlockSizes:
    """Keeps the sizes of one machine's disks equal to those of its devices."""

    def __init__(self, nodes: BlockNodes, paths: ForeignPaths, hypervisor: Hypervisor, domain: str) -> None:
        """Look at nothing before `follow`. All stay the caller's."""
        self._nodes = nodes
        self._paths = paths
        self._hypervisor = hypervisor
        self._domain = domain
        self._following: asyncio.Task[None] | None = None

    def follow(self, look: Callable[[], Awaitable[None]]) -> None:
        """Have `look` called at intervals, until `close`; a second call changes nothing."""
        if self._following is None:
            self._following = asyncio.create_task(self._follow(look), name=f"sizes of {self._domain}")
            self._following.add_done_callback(aio.report)

    async def close(self) -> None:
        """Follow no more; can be repeated."""
        following, self._following = self._following, None
        if following is not None:
            await aio.cancel(following)

    async def adapt(self, plugged: PluggedDevice) -> None:
        """Tell the guest the size of a device where it has changed. What fails is logged.

        QEMU does not look again at the size of a device that is only read.
        """
        node = plugged.node
        if not node.writable:
            return
        try:
            size = await self._paths.call(node.path, lambda: self._nodes.size(node))
            if size != plugged.size:
                plugged.size = size
                await self._hypervisor.resize_disk(self._domain, node.serial, size)
            plugged.complained = False
        except (OSError, VmsandboxError) as error:
            if not plugged.complained:
                _log.warning("machine %s did not get the new size of its disk %s: %s", self._domain, node.serial, error)
            plugged.complained = True

    @staticmethod
    async def _follow(look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await look()
