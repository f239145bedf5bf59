"""The base of the servicers of RuntimeService."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from cri_api.v1 import api_pb2 as api
from google.protobuf.message import Message

from vmsandbox import log
from vmsandbox.cri.convert import container_status_to_cri, document
from vmsandbox.cri.servicer import ids
from vmsandbox.errors import Unimplemented, VmsandboxError
from vmsandbox.model import (
    AttachRequest,
    ContainerConfig,
    ContainerStatus,
    DebugRequest,
    ExecRequest,
    Image,
    PodSandboxConfig,
    PortForwardRequest,
    SandboxStatus,
)
from vmsandbox.protocol.codec import JSON
from vmsandbox.service import RuntimeService

_log = log.get(__name__)

Status = TypeVar("Status", ContainerStatus, SandboxStatus)
Config = TypeVar("Config", ContainerConfig, PodSandboxConfig)
Wire = TypeVar("Wire")

UNTELLABLE = (TypeError, ValueError, KeyError)
"""The errors of a conversion whose value does not fit into a message of the CRI, such as a too large number.

The protocol's bounds keep such values out; a record that an older version wrote may have one.
"""


@dataclass(slots=True)
class NodeInfo:
    """The node's description and state, as far as the CRI asks for them. A reload of the configuration changes it."""

    handlers: tuple[str, ...]
    """The RuntimeClass handlers; the empty one is the default."""
    network_ready: Callable[[], Awaitable[None]]
    """Raises a VmsandboxError that says why pods cannot be attached to their network now."""
    containers_directory: Path
    """Holds the writable layers of containers."""
    config: Mapping[str, JSON] = field(default_factory=dict)
    """The configuration in effect, for people to read."""


class StreamingUrls(Protocol):
    """The part of the streaming server that the CRI needs. Each URL serves one request and soon expires."""

    def exec_url(self, request: ExecRequest) -> str:
        """Return the URL of a command."""

    def attach_url(self, request: AttachRequest) -> str:
        """Return the URL of a container's own process."""

    def debug_url(self, request: DebugRequest) -> str:
        """Return the URL of a command in a guest itself."""

    def portforward_url(self, request: PortForwardRequest) -> str:
        """Return the URL of ports of a sandbox."""


@dataclass(frozen=True, slots=True)
class Servicer:
    """One family of calls; it owns nothing."""

    service: RuntimeService
    node: NodeInfo
    streaming: StreamingUrls | None
    ending: asyncio.Future[BaseException]
    """Comes when the server is to end: what a call that never ends by itself is to raise."""

    @property
    def urls(self) -> StreamingUrls:
        """Return the source of the URLs of streams. Raises Unimplemented: this server was started without streaming."""
        if self.streaming is None:
            raise Unimplemented("this server was started without streaming")
        return self.streaming

    def sandbox_id(self, text: str) -> str:
        """See `ids.resolve`."""
        return ids.resolve(text, (status.id for status in self.service.list_pod_sandboxes()), "sandbox")

    def container_id(self, text: str) -> str:
        """See `ids.resolve`."""
        return ids.resolve(text, (status.id for status in self.service.list_containers()), "container")

    def container_to_cri(self, container: ContainerStatus) -> api.ContainerStatus:
        """A container's status, with what its images add."""
        names = {mount.image for mount in container.config.mounts if mount.image}
        volumes = {name: image.id for name in names if (image := self._image(name))}
        return container_status_to_cri(container, self._image(container.image_id), volumes)

    def _image(self, name_or_id: str) -> Image | None:
        """The image, if it is held; None if it is damaged, or if a damaged record has no proper name for it."""
        try:
            return self.service.images.find(name_or_id)
        except VmsandboxError as error:
            _log.warning("image %r cannot be told of: %s", name_or_id, error)
            return None

    def statuses_in(self, sandbox_id: str) -> list[api.ContainerStatus]:
        """The statuses of a sandbox's containers, as far as they can be told."""
        containers = self.service.list_containers()
        return told(self.container_to_cri, (one for one in containers if one.sandbox_id == sandbox_id))


def config_document(to_cri: Callable[[Config], Message], config: Config) -> JSON:
    """Return the document of a configuration, or the reason why the CRI cannot represent it."""
    try:
        return document(to_cri(config))
    except (*UNTELLABLE, VmsandboxError) as error:
        return f"the CRI cannot represent it: {error!r}"


def told(to_cri: Callable[[Status], Wire], statuses: Iterable[Status]) -> list[Wire]:
    """Convert each status; leave out, and log, one that the CRI's messages cannot hold: the others are to be told."""
    wires = []
    for each in statuses:
        try:
            wires.append(to_cri(each))
        except UNTELLABLE as error:
            _log.error("the status of %s is left out, because the CRI cannot represent it: %s", each.id, error)
    return wires
