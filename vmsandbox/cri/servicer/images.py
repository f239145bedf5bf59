"""The CRI's ImageService."""

import json

from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri.convert import image_spec_document, image_to_cri, registry_auth_from_cri
from vmsandbox.cri.interceptor import Context
from vmsandbox.cri.servicer import filesystem
from vmsandbox.cri.servicer.base import NodeInfo
from vmsandbox.errors import InvalidArgument, Unavailable
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.images import ImageStore, Reference
from vmsandbox.model import Image, RegistryAuth

_DOCKER_HUB = {"index.docker.io", "registry-1.docker.io"}


class ImageServicer(api_pb2_grpc.ImageServiceServicer):
    """runtime.v1.ImageService, in front of the image store, which is the caller's."""

    def __init__(self, images: ImageStore, node: NodeInfo) -> None:
        """Serve the images of a store."""
        self._images = images
        self._node = node
        self._paths = ForeignPaths()
        """A kubelet asks for file systems every few seconds, also for one that hangs."""

    async def ListImages(self, request: api.ListImagesRequest, _: Context) -> api.ListImagesResponse:
        """All images, or the one that the filter names."""
        if name := request.filter.image.image:
            found = self._images.find(name)
            return api.ListImagesResponse(images=[image_to_cri(found)] if found else [])
        return api.ListImagesResponse(images=map(image_to_cri, self._images.list()))

    async def ImageStatus(self, request: api.ImageStatusRequest, _: Context) -> api.ImageStatusResponse:
        """An image; the response is empty where it is not held."""
        found = self._images.find(_named(request.image))
        if found is None:
            return api.ImageStatusResponse()
        return api.ImageStatusResponse(image=image_to_cri(found), info=_info(found) if request.verbose else {})

    async def PullImage(self, request: api.PullImageRequest, _: Context) -> api.PullImageResponse:
        """Pull an image; its id is the reference by which containers are made from it."""
        name = _named(request.image)
        handler = request.image.runtime_handler
        if handler not in self._node.handlers:
            raise InvalidArgument(f"there is no runtime handler {handler!r}")
        try:
            image = await self._images.pull(name, _auth(request.auth, name) if request.HasField("auth") else None)
        except Unavailable as error:
            # The kubelet knows this beginning (cri-api, pkg/errors) and shows it as the reason.
            raise error.at("RegistryUnavailable") from None
        return api.PullImageResponse(image_ref=image.id)

    async def RemoveImage(self, request: api.RemoveImageRequest, _: Context) -> api.RemoveImageResponse:
        """Remove an image with all its names; succeeds where it is not held."""
        await self._images.remove(_named(request.image))
        return api.RemoveImageResponse()

    async def ImageFsInfo(self, request: api.ImageFsInfoRequest, _: Context) -> api.ImageFsInfoResponse:
        """Return the disk usage of images, and that of the writable layers of containers."""
        containers = self._node.containers_directory
        return api.ImageFsInfoResponse(
            image_filesystems=[await self._paths.call(self._images.directory, self._usage_of_images)],
            container_filesystems=[await self._paths.call(containers, lambda: filesystem.usage(containers))],
        )

    def _usage_of_images(self) -> api.FilesystemUsage:
        usage = self._images.usage()
        return filesystem.filesystem_usage(self._images.directory, usage.bytes, usage.inodes)


def _named(spec: api.ImageSpec) -> str:
    if not spec.image:
        raise InvalidArgument("the request names no image")
    return spec.image


def _auth(wire: api.AuthConfig, name: str) -> RegistryAuth | None:
    """The credentials, unless they are for another server than the image's registry."""
    server = wire.server_address.partition("://")[2] or wire.server_address
    host = server.partition("/")[0]
    host = "docker.io" if host in _DOCKER_HUB else host
    return registry_auth_from_cri(wire) if not host or host == Reference.parse(name).registry else None


def _info(image: Image) -> dict[str, str]:
    """Return the additions of the verbose status, in JSON under `info`, as in containerd."""
    return {"info": json.dumps({"imageSpec": image_spec_document(image.config)})}
