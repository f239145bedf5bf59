"""The root images that are plugged into one machine: each once, for as long as a container uses it."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from vmsandbox import aio
from vmsandbox.errors import NotFound
from vmsandbox.guest import GuestClient
from vmsandbox.hypervisor import Disk, Hypervisor
from vmsandbox.images import ImageStore


@dataclass(slots=True)
class _Plugged:
    """A root image in the machine: what gives it back in the machine, and what lets go of it in the store."""

    serial: str
    unplug: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    hold: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    users: set[str] = field(default_factory=set)

    async def undo(self) -> None:
        """Unmount and unplug it, and let go of it."""
        async with self.hold:
            await self.unplug.aclose()


class ImageDisks:
    """Knows the users of each image; plugging and unplugging happen one at a time."""

    def __init__(self, images: ImageStore, hypervisor: Hypervisor, domain: str, client: GuestClient) -> None:
        """Manage the disks of the machine `domain`; `client` talks to its agent. All arguments stay the caller's."""
        self._images = images
        self._hypervisor = hypervisor
        self._domain = domain
        self._client = client
        self._plugged: dict[str, _Plugged] = {}
        self._lock = asyncio.Lock()

    async def acquire(self, image: str, user: str) -> str:
        """Have an image's root mounted in the guest for `user`, and return its serial. On failure nothing is held.

        Raises:
            NotFound: the store does not hold the image.
            VmsandboxError: it cannot be plugged in or mounted.
        """
        async with self._lock:
            found = self._images.find(image)
            if found is None:
                raise NotFound(f"image {image} is not in the store", hint=f"vmsandbox image pull {image}")
            if found.id not in self._plugged:
                self._plugged[found.id] = await self._plug(found.id)
            self._plugged[found.id].users.add(user)
            return self._plugged[found.id].serial

    async def adopt(self, image_id: str, serial: str, user: str) -> None:
        """Take over an image that another process has plugged in for `user`; the store may have removed it since."""
        async with self._lock:
            if image_id not in self._plugged:
                plugged = self._plugged[image_id] = _Plugged(serial)
                with contextlib.suppress(NotFound):
                    await plugged.hold.enter_async_context(self._images.hold(image_id))
                self._prepare_unplugging(plugged)
            self._plugged[image_id].users.add(user)

    def of(self, user: str) -> dict[str, str]:
        """Return the disks of `user`: serials by image ids."""
        return {image_id: plugged.serial for image_id, plugged in self._plugged.items() if user in plugged.users}

    async def release_all(self, user: str) -> None:
        """Let go of all that `user` has; what has no other user is unmounted and unplugged. Can be repeated."""
        async with self._lock:
            for image_id in self.of(user):
                plugged = self._plugged[image_id]
                plugged.users.discard(user)
                if not plugged.users:
                    del self._plugged[image_id]
                    await plugged.undo()

    async def close(self) -> None:
        """Let go of all images in the store: the machine has ended, or goes on without this process."""
        for plugged in self._plugged.values():
            await plugged.hold.aclose()
        self._plugged.clear()

    async def _plug(self, image_id: str) -> _Plugged:
        plugged = _Plugged("")
        try:
            root = await plugged.hold.enter_async_context(self._images.hold(image_id))
            plugged.serial = root.serial
            self._prepare_unplugging(plugged)
            await aio.together(  # The guest waits for the disk, which comes while the request is on its way.
                self._hypervisor.attach_disk(self._domain, Disk(root.serial, root.path)),
                self._client.attach_image(root.serial, filesystem=root.filesystem),
            )
        except BaseException:
            await aio.to_its_end(plugged.undo())
            raise
        return plugged

    def _prepare_unplugging(self, plugged: _Plugged) -> None:
        plugged.unplug.push_async_callback(self._hypervisor.detach_disk, self._domain, plugged.serial)
        plugged.unplug.push_async_callback(self._client.detach_image, plugged.serial)
