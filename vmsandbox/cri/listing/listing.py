"""The lists of a runtime. Numbers of fields are those of CRI v1's api.proto, whose message each function names."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from vmsandbox.cri.listing.connection import TIMEOUT, Connection, Unusual, is_served
from vmsandbox.cri.listing.message import Message
from vmsandbox.model import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ContainerStatus,
    Image,
    ImageConfig,
    PodSandboxConfig,
    PodSandboxMetadata,
    SandboxState,
    SandboxStatus,
)

T = TypeVar("T")

_RUNTIME = "/runtime.v1.RuntimeService/"
_IMAGES = "/runtime.v1.ImageService/"

_SANDBOX_STATES = (SandboxState.READY, SandboxState.NOTREADY)
_CONTAINER_STATES = (ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED, ContainerState.UNKNOWN)


@contextlib.contextmanager
def listing_of(paths: Iterable[Path], timeout: float = TIMEOUT) -> "Iterator[Listing]":
    """Give the lists of the one runtime that serves one of these sockets.

    Args:
        paths: sockets of runtimes.
        timeout: seconds in which the runtime takes a connection, and in which each part of an answer comes.

    Raises:
        Unusual: none or several of them are served.
    """
    served = [path for path in paths if is_served(path)]
    if len(served) != 1:
        raise Unusual(f"{len(served)} runtimes answer")
    with Connection(served[0], timeout) as connection:
        yield Listing(connection)


class Listing:
    """Has the calls of `cri.client.CriClient` that list; its images are itself. None of them ever suspends."""

    def __init__(self, connection: Connection) -> None:
        """Ask over a connection, which is the caller's."""
        self._connection = connection
        self.images = ImageListing(connection)

    async def list_pod_sandboxes(self) -> tuple[SandboxStatus, ...]:
        """All sandboxes."""
        answer = Message(self._connection.call(f"{_RUNTIME}ListPodSandbox", b""))
        return tuple(map(sandbox_item, answer.messages(1)))

    async def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        """Return a sandbox with its addresses."""
        name = sandbox_id.encode()
        request = b"\x0a" + bytes([len(name)]) + name  # PodSandboxStatusRequest.pod_sandbox_id = 1
        answer = Message(self._connection.call(f"{_RUNTIME}PodSandboxStatus", request))
        return sandbox_status(answer.message(1))

    async def list_containers(self) -> tuple[ContainerStatus, ...]:
        """All containers."""
        answer = Message(self._connection.call(f"{_RUNTIME}ListContainers", b""))
        return tuple(map(container_item, answer.messages(1)))


class ImageListing:
    """Has the call of the client's images that lists."""

    def __init__(self, connection: Connection) -> None:
        """Ask over a connection, which is the caller's."""
        self._connection = connection

    async def list(self) -> tuple[Image, ...]:
        """All images."""
        answer = Message(self._connection.call(f"{_IMAGES}ListImages", b""))
        return tuple(map(image, answer.messages(1)))


def sandbox_item(wire: Message) -> SandboxStatus:
    """PodSandbox."""
    config = PodSandboxConfig(
        _sandbox_metadata(wire.message(2)),
        labels=wire.pairs(5),
        annotations=wire.pairs(6),
        runtime_handler=wire.text(7),
    )
    return SandboxStatus(wire.text(1), config, _state(_SANDBOX_STATES, wire.number(3)), wire.number(4))


def sandbox_status(wire: Message) -> SandboxStatus:
    """PodSandboxStatus, without the namespaces."""
    network = wire.message(5)
    config = PodSandboxConfig(
        _sandbox_metadata(wire.message(2)),
        labels=wire.pairs(7),
        annotations=wire.pairs(8),
        runtime_handler=wire.text(9),
    )
    addresses = (network.text(1), *(one.text(1) for one in network.messages(2)))
    state = _state(_SANDBOX_STATES, wire.number(3))
    return SandboxStatus(wire.text(1), config, state, wire.number(4), ips=tuple(filter(None, addresses)))


def container_item(wire: Message) -> ContainerStatus:
    """Container."""
    metadata, image_spec = wire.message(3), wire.message(4)
    config = ContainerConfig(
        ContainerMetadata(metadata.text(1), metadata.number(2)),
        image=image_spec.text(1),
        user_specified_image=image_spec.text(18),
        labels=wire.pairs(8),
        annotations=wire.pairs(9),
    )
    return ContainerStatus(
        id=wire.text(1),
        sandbox_id=wire.text(2),
        config=config,
        state=_state(_CONTAINER_STATES, wire.number(6)),
        created_at=wire.number(7),
        image_id=wire.text(10),
        image_ref=wire.text(5),
    )


def image(wire: Message) -> Image:
    """Image; of its configuration it has only the user."""
    user = str(wire.message(5).number(1)) if wire.has(5) else wire.text(6)
    return Image(
        id=wire.text(1),
        repo_tags=wire.texts(2),
        repo_digests=wire.texts(3),
        size=wire.number(4),
        pinned=bool(wire.number(8)),
        config=ImageConfig(user=user),
    )


def _sandbox_metadata(wire: Message) -> PodSandboxMetadata:
    return PodSandboxMetadata(wire.text(1), wire.text(2), wire.text(3), wire.number(4))


def _state(states: tuple[T, ...], number: int) -> T:
    if number >= len(states):
        raise Unusual(f"a state that this version does not know: {number}")
    return states[number]
