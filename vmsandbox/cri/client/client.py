"""The client itself: its calls about the runtime, and its images."""

from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri.client.additions import AdditionsClient
from vmsandbox.cri.client.base import Channel, inspected
from vmsandbox.cri.client.events import EventClient
from vmsandbox.cri.client.sandboxes import SandboxClient
from vmsandbox.cri.client.statistics import StatisticsClient
from vmsandbox.cri.codes import translated
from vmsandbox.cri.convert import image_from_cri, registry_auth_to_cri
from vmsandbox.errors import NotFound
from vmsandbox.model import Image, RegistryAuth
from vmsandbox.protocol.codec import JSON


class CriClient(SandboxClient, EventClient, StatisticsClient, AdditionsClient):
    """See the package. Every call raises what the daemon raised, and Unavailable where the daemon has gone."""

    def __init__(self, channel: Channel) -> None:
        """Speak over a channel, which is the caller's; see `connected`."""
        super().__init__(channel)
        self.images = ImageClient(channel)

    async def version(self) -> str:
        """Name and version of the runtime."""
        with translated():
            response = await self._runtime.Version(api.VersionRequest())
        return f"{response.runtime_name} {response.runtime_version}"

    async def status(self) -> JSON:
        """The conditions, handlers and features of the runtime, and its configuration, as a JSON document."""
        with translated():
            response = await self._runtime.Status(api.StatusRequest(verbose=True))
        return inspected(response)


class ImageClient:
    """The images of a daemon. Every call raises what the daemon raised."""

    def __init__(self, channel: Channel) -> None:
        """Speak over a channel, which is the caller's."""
        self._images = api_pb2_grpc.ImageServiceStub(channel)

    async def list(self) -> tuple[Image, ...]:
        """All images."""
        with translated():
            response = await self._images.ListImages(api.ListImagesRequest())
        return tuple(map(image_from_cri, response.images))

    async def find(self, name_or_id: str, handler: str = "") -> Image | None:
        """An image; None: not held. With a RuntimeClass handler, held by the runtime that serves it."""
        request = api.ImageStatusRequest(image=api.ImageSpec(image=name_or_id, runtime_handler=handler))
        with translated():
            response = await self._images.ImageStatus(request)
        return image_from_cri(response.image) if response.HasField("image") else None

    async def pull(self, name: str, auth: RegistryAuth | None = None, handler: str = "") -> Image:
        """Pull an image, for the runtime that serves a RuntimeClass handler."""
        request = api.PullImageRequest(image=api.ImageSpec(image=name, runtime_handler=handler))
        if auth is not None:
            request.auth.CopyFrom(registry_auth_to_cri(auth))
        with translated():
            response = await self._images.PullImage(request)
        pulled = await self.find(response.image_ref, handler)
        if pulled is None:
            raise NotFound(f"image {name} was removed right after it was pulled")
        return pulled

    async def remove(self, name_or_id: str) -> None:
        """Remove an image with all its names; does nothing where it is not held."""
        with translated():
            await self._images.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=name_or_id)))
