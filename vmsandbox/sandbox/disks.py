"""The root images that are plugged into one machine: each once, for as long as a container of it has it."""

import asyncio
import contextlib
from dataclasses import dataclass

from vmsandbox import aio
from vmsandbox.errors import VmsandboxError
from vmsandbox.guest.client import GuestClient
from vmsandbox.hypervisor.base import Disk, Hypervisor
from vmsandbox.images import ImageStore, RootImage


@dataclass(slots=True)
class _Plugged:
    """A root image in the machine, and what gives it back: unmounted, unplugged, and let go of in the store."""

    root: RootImage
    undo: contextlib.AsyncExitStack
    users: int = 0


class ImageDisks:
    """Counts the containers per image; plugging and unplugging happen one at a time."""

    def __init__(self, images: ImageStore, hypervisor: Hypervisor, domain: str, client: GuestClient) -> None:
        """Of the machine `domain`, whose agent `client` talks to; all stay the caller's."""
        self._images = images
        self._hypervisor = hypervisor
        self._domain = domain
        self._client = client
        self._plugged: dict[str, _Plugged] = {}
        self._lock = asyncio.Lock()

    async def acquire(self, image_id: str) -> RootImage:
        """Have an image's root mounted in the guest, under its serial. On failure nothing is held.

        Raises:
            NotFound: the store does not hold the image.
            VmsandboxError: it cannot be plugged in or mounted.
        """
        async with self._lock:
            if image_id not in self._plugged:
                self._plugged[image_id] = await self._plug(image_id)
            self._plugged[image_id].users += 1
            return self._plugged[image_id].root

    async def release(self, image_id: str) -> None:
        """Let go of it; with its last user it is unmounted and unplugged."""
        async with self._lock:
            self._plugged[image_id].users -= 1
            if not self._plugged[image_id].users:
                await self._plugged.pop(image_id).undo.aclose()

    async def close(self) -> None:
        """Let go of all images in the store, when the machine has ended."""
        for plugged in self._plugged.values():
            with contextlib.suppress(VmsandboxError):
                await plugged.undo.aclose()
        self._plugged.clear()

    async def _plug(self, image_id: str) -> _Plugged:
        undo = contextlib.AsyncExitStack()
        try:
            root = await undo.enter_async_context(self._images.hold(image_id))
            undo.push_async_callback(self._hypervisor.detach_disk, self._domain, root.serial)
            await self._hypervisor.attach_disk(self._domain, Disk(root.serial, root.path))
            undo.push_async_callback(self._client.detach_image, root.serial)
            await self._client.attach_image(root.serial, filesystem=root.filesystem)
        except BaseException:
            await aio.to_its_end(undo.aclose())
            raise
        return _Plugged(root, undo)
