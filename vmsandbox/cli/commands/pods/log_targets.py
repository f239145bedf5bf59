"""The containers whose logs are meant by names, and their earlier attempts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vmsandbox.cli.commands.daemon import find_container, find_pod
from vmsandbox.errors import InvalidArgument, NotFound
from vmsandbox.model import ContainerStatus

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient


@dataclass(frozen=True, slots=True)
class LogTarget:
    """A container, or an attempt at running it that has been removed."""

    container: ContainerStatus
    name: str
    """POD/CONTAINER, for people."""
    path: Path | None = None
    """The log of an attempt that is not known any more; None: the daemon tells that of the container."""


async def targets(client: "CriClient", name: str) -> list[LogTarget]:
    """Return the container of a name, or all containers of a pod. Raises NotFound, InvalidArgument."""
    pods = {pod.id: pod.config.metadata.name for pod in await client.list_pod_sandboxes()}
    try:
        found = [await find_container(client, name)]
    except InvalidArgument as ambiguous:
        try:
            pod = await find_pod(client, name)
        except NotFound:
            raise ambiguous from None
        found = _latest([one for one in await client.list_containers() if one.sandbox_id == pod.id])
    return [LogTarget(one, f"{pods.get(one.sandbox_id, '')}/{one.config.metadata.name}") for one in found]


async def previous(client: "CriClient", target: LogTarget) -> LogTarget:
    """Return the attempt before; where its container was removed, its log beside that of the container.

    Raises:
        NotFound: there was none, or its log is gone.
    """
    metadata = target.container.config.metadata
    if metadata.attempt == 0:
        raise NotFound(f"container {target.name} has not been restarted: there is no previous log")
    for one in await client.list_containers():
        other = one.config.metadata
        same = (one.sandbox_id, other.name) == (target.container.sandbox_id, metadata.name)
        if same and other.attempt == metadata.attempt - 1:
            return LogTarget(one, target.name)
    log = Path((await client.container_status(target.container.id)).log_path)
    path = log.with_name(f"{metadata.attempt - 1}.log")  # As the kubelet and `run` name them.
    if log == Path() or log.name != f"{metadata.attempt}.log" or not path.exists():
        raise NotFound(f"the previous log of container {target.name} is gone, with its container")
    return LogTarget(target.container, target.name, path)


def _latest(containers: list[ContainerStatus]) -> list[ContainerStatus]:
    """Return the last attempt of each name, in the order in which the names were first there."""
    last: dict[str, ContainerStatus] = {}
    for one in sorted(containers, key=lambda one: (one.created_at, one.config.metadata.attempt)):
        last[one.config.metadata.name] = one
    return list(last.values())
