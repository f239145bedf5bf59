"""Images where two runtimes keep them: each pulls what its own containers are made from."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.delegation.runtimes import Call, Runtimes, answered, merged
from vmsandbox.model import Image


async def pull(runtimes: Runtimes, call: Call[api.PullImageResponse]) -> api.PullImageResponse:
    """Pull for the runtime that runs the pod, which the kubelet names in `sandbox_config`."""
    return await answered(call, by_us=not await _is_for_delegate(runtimes, call.request))


async def status(runtimes: Runtimes, call: Call[api.ImageStatusResponse]) -> api.ImageStatusResponse:
    """Return the status from the runtime of the named handler; without a name, ours or else the delegate's."""
    if handler := call.request.image.runtime_handler:
        return await answered(call, by_us=handler not in runtimes.policy.handlers)
    answer = await call.ours()
    return answer if answer.HasField("image") else await call.theirs()


async def listed(_: Runtimes, call: Call[api.ListImagesResponse]) -> api.ListImagesResponse:
    """All images of both; one that both hold is one image, with all of its names."""
    images: dict[str, api.Image] = {}
    for image in (await merged(call)).images:
        known = images.setdefault(image.id, image)
        known.repo_tags.extend(name for name in image.repo_tags if name not in known.repo_tags)
        known.repo_digests.extend(name for name in image.repo_digests if name not in known.repo_digests)
    return api.ListImagesResponse(images=images.values())


async def provide(runtimes: Runtimes, request: api.CreateContainerRequest, *, to_us: bool) -> None:
    """Have the runtime that makes a container hold its image, where only the other one does.

    The kubelet asks whether an image is there (ImageStatus) without saying for which pod, and then does not pull it.
    The pull is without credentials: they came with the other runtime's pull, and are not kept.
    """
    name = request.config.image.image
    if to_us:
        if name and runtimes.service.images.find(name) is None and (held := await runtimes.delegate.image(name)):
            await runtimes.service.images.pull(_reference(name, held))
    elif name and await runtimes.delegate.image(name) is None and (ours := runtimes.service.images.find(name)):
        await runtimes.delegate.call("PullImage", _pulling(_reference(name, ours), request.sandbox_config))


def _pulling(reference: str, pod: api.PodSandboxConfig) -> api.PullImageRequest:
    return api.PullImageRequest(image=api.ImageSpec(image=reference), sandbox_config=pod)


def _reference(name: str, image: api.Image | Image) -> str:
    """Return the name of an image in its registry; for an image that was named by its id, one of its digests."""
    by_id = image.id.removeprefix("sha256:").startswith(name.removeprefix("sha256:"))
    return next(iter([*image.repo_digests, *image.repo_tags]), name) if by_id else name


async def _is_for_delegate(runtimes: Runtimes, request: api.PullImageRequest) -> bool:
    """A pod's sandbox is there before its images are pulled, and shows where it is; else as if it were to come."""
    uid, handler = request.sandbox_config.metadata.uid, request.image.runtime_handler
    if uid and any(sandbox.config.metadata.uid == uid for sandbox in runtimes.service.list_pod_sandboxes()):
        return False
    if runtimes.policy.delegates(handler, request.sandbox_config):
        return True
    return bool(uid) and not handler and uid in await _uids(runtimes)


async def _uids(runtimes: Runtimes) -> set[str]:
    """Return the uids of the delegate's pods."""
    answer = await runtimes.delegate.call("ListPodSandbox", api.ListPodSandboxRequest())
    return {sandbox.metadata.uid for sandbox in answer.items}
