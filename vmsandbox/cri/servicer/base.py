"""What the calls of the runtime service have in common."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from cri_api.v1 import api_pb2 as api

from vmsandbox import log
from vmsandbox.cri.convert import to_cri
from vmsandbox.cri.servicer import ids
from vmsandbox.model import AttachRequest, ContainerStatus, ExecRequest, PortForwardRequest, SandboxStatus
from vmsandbox.protocol.codec import JSON
from vmsandbox.service import RuntimeService

_log = log.get(__name__)

Status = TypeVar("Status", ContainerStatus, SandboxStatus)
Wire = TypeVar("Wire")

UNTELLABLE = (TypeError, ValueError, KeyError)
"""What a conversion raises for a value that a message of the CRI cannot hold, such as a number of more than 64 bits.

The protocol's bounds keep such values out; a record that an older version wrote may have one.
"""


@dataclass(frozen=True, slots=True)
class Node:
    """What the node is and how it fares, as far as the CRI asks."""

    handlers: tuple[str, ...]
    """The RuntimeClass handlers; the empty one is the default."""
    network_ready: Callable[[], Awaitable[None]]
    """Raises a VmsandboxError that says why pods cannot be attached to their network now."""
    containers_directory: Path
    """Holds the writable layers of containers."""
    config: Mapping[str, JSON] = field(default_factory=dict)
    """The configuration in effect, for people to read."""


class StreamingUrls(Protocol):
    """What the CRI needs of the streaming server, which says what is raised; each URL serves once and soon expires."""

    def exec_url(self, request: ExecRequest) -> str:
        """Of a command."""

    def attach_url(self, request: AttachRequest) -> str:
        """Of a container's own process."""

    def portforward_url(self, request: PortForwardRequest) -> str:
        """Of ports of a sandbox."""


@dataclass(frozen=True, slots=True)
class Servicer:
    """One family of calls; it owns nothing."""

    service: RuntimeService
    node: Node
    streaming: StreamingUrls | None
    ending: asyncio.Future[BaseException]
    """Comes when the server is to end: what a call that never ends by itself is to raise."""

    def sandbox_id(self, text: str) -> str:
        """See `ids.resolve`."""
        return ids.resolve(text, (status.id for status in self.service.list_pod_sandboxes()), "sandbox")

    def container_id(self, text: str) -> str:
        """See `ids.resolve`."""
        return ids.resolve(text, (status.id for status in self.service.list_containers()), "container")

    def container_to_wire(self, container: ContainerStatus) -> api.ContainerStatus:
        """A container's status, with what its images add."""
        find = self.service.images.find
        names = {mount.image for mount in container.config.mounts if mount.image}
        volumes = {name: image.id for name in names if (image := find(name))}
        return to_cri.container_status(container, find(container.image_id), volumes)

    def statuses_in(self, sandbox_id: str) -> list[api.ContainerStatus]:
        """The statuses of a sandbox's containers, as far as they can be told."""
        containers = self.service.list_containers()
        return told(self.container_to_wire, (one for one in containers if one.sandbox_id == sandbox_id))


def told(to_wire: Callable[[Status], Wire], statuses: Iterable[Status]) -> list[Wire]:
    """Convert each status; leave out, and log, one that the CRI's messages cannot hold: the others are to be told."""
    wires = []
    for each in statuses:
        try:
            wires.append(to_wire(each))
        except UNTELLABLE as error:
            _log.error("the status of %s is left out, since it cannot be told: %s", each.id, error)
    return wires
