"""The form of lists for programs: one dictionary for each pod, container, image and event.

docs/cli-json.md describes it, and golden files keep it. Keys are in camelCase, states are the CRI's in words, and times
are RFC 3339 in UTC.
"""

import datetime
from collections.abc import Mapping, Sequence

from vmsandbox.cli.options import duration
from vmsandbox.model import ContainerEvent, ContainerStatus, Image, SandboxStatus
from vmsandbox.moments import rfc3339
from vmsandbox.protocol.codec import JSON

Entry = dict[str, JSON]

_SHOWN_ID = 13


def pod_entry(pod: SandboxStatus, addresses: Sequence[str] = ()) -> Entry:
    """Describe a pod.

    Args:
        pod: as the daemon lists it.
        addresses: of its network; the list of the CRI does not have them.
    """
    metadata = pod.config.metadata
    return {
        "id": pod.id,
        "name": metadata.name,
        "namespace": metadata.namespace,
        "uid": metadata.uid,
        "attempt": metadata.attempt,
        "state": pod.state.value.upper(),
        "createdAt": rfc3339(pod.created_at),
        "addresses": list(addresses),
        "handler": pod.config.runtime_handler,
        "labels": pod.config.labels,
        "annotations": pod.config.annotations,
    }


def container_entry(container: ContainerStatus, pod: SandboxStatus | None, names: Mapping[str, str]) -> Entry:
    """Describe a container.

    Args:
        container: as the daemon lists it.
        pod: its sandbox; None if it was removed in the meantime.
        names: of images, by their ids.
    """
    metadata = container.config.metadata
    return {
        "id": container.id,
        "name": metadata.name,
        "pod": pod.config.metadata.name if pod else "",
        "namespace": pod.config.metadata.namespace if pod else "",
        "podId": container.sandbox_id,
        "attempt": metadata.attempt,
        "state": container.state.value.upper(),
        "createdAt": rfc3339(container.created_at),
        "image": _image_name(container, names),
        "imageId": container.image_id or container.image_ref,
        "labels": container.config.labels,
        "annotations": container.config.annotations,
    }


def image_entry(image: Image) -> Entry:
    """Describe an image."""
    return {
        "id": image.id,
        "repoTags": list(image.repo_tags),
        "repoDigests": list(image.repo_digests),
        "size": image.size,
        "pinned": image.pinned,
    }


def event_entry(event: ContainerEvent, name: str, pod: SandboxStatus | None) -> Entry:
    """Describe an event.

    Args:
        event: of a pod or a container.
        name: of the container, as far as it is known.
        pod: the sandbox, as far as it is known.
    """
    of_pod = event.container_id == event.sandbox_id
    pod_name = pod.config.metadata.name if pod else ""
    return {
        "time": rfc3339(event.at),
        "type": event.kind.value.upper(),
        "kind": "pod" if of_pod else "container",
        "id": event.container_id,
        "name": pod_name if of_pod else name,
        "pod": pod_name,
        "namespace": pod.config.metadata.namespace if pod else "",
        "podId": event.sandbox_id,
    }


def names_no_image(container: ContainerStatus) -> bool:
    """Whether a container tells its image by an id alone, as a kubelet asks for it."""
    config = container.config
    return not config.user_specified_image and (not config.image or _is_image_id(config.image))


def image_names(images: Sequence[Image]) -> dict[str, str]:
    """Return the first name of each image by the image's id."""
    return {image.id: next(iter(image.repo_tags + image.repo_digests), "") for image in images}


def split_name(name: str) -> tuple[str, str]:
    """Split `repository:tag` as tables show it; the colon of a registry's port does not count."""
    repository, colon, tag = name.partition("@")[0].rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name.partition("@")[0], "<none>")


def short(identifier: str) -> str:
    """Shorten an id as tables show it; as long as no other begins so, it names the same."""
    return identifier.removeprefix("sha256:")[:_SHOWN_ID]


def words(state: str) -> str:
    """Write a state for a person: Ready, NotReady, Running."""
    return {"NOTREADY": "NotReady"}.get(state, state.capitalize())


def age(moment: str) -> str:
    """Write the time since a moment, for a person."""
    passed = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(moment)
    return duration(max(0.0, passed.total_seconds()))


def _image_name(container: ContainerStatus, names: Mapping[str, str]) -> str:
    """Return the name of a container's image: the pod author's, else that of the request, else the store's."""
    config = container.config
    if not names_no_image(container):
        return config.user_specified_image or config.image
    return names.get(container.image_id) or names.get(config.image) or short(container.image_id or config.image)


def _is_image_id(text: str) -> bool:
    digits = text.removeprefix("sha256:")
    return len(digits) == 64 and not set(digits) - set("0123456789abcdef")
