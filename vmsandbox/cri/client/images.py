"""The image half of the client: the calls have the names of `vmsandbox.images.ImageStore`."""

import grpc.aio
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri.codes import translated
from vmsandbox.cri.convert.image import image_from_cri, registry_auth_to_cri
from vmsandbox.errors import NotFound
from vmsandbox.model import Image, RegistryAuth


class ImageClient:
    """The images of a daemon. Every call raises what the daemon raised."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
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
            raise NotFound(f"image {name} was removed as soon as it was pulled")
        return pulled

    async def remove(self, name_or_id: str) -> None:
        """Remove an image with all its names; does nothing where it is not held."""
        with translated():
            await self._images.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=name_or_id)))
