"""Containers whose process on the host is gone without a daemon that saw it: they are killed, as all such are.

It was killed while the daemon was away; or the command was killed before it had made the process. If that was before it
had noted what it had made, nobody can ask for the container's end: it is removed.
"""

import asyncio
from collections import Counter
from pathlib import Path

from vmsandbox import log
from vmsandbox.errors import VmsandboxError
from vmsandbox.model import ContainerState
from vmsandbox.oci.control_calls import Call
from vmsandbox.oci.pods import NAMESPACE, Pods
from vmsandbox.oci_command import cgroups
from vmsandbox.oci_command.errors import CommandError
from vmsandbox.oci_command.store import Store
from vmsandbox.service import RuntimeService

_log = log.get(__name__)

PAUSE = 20.0
"""Seconds between two looks. A process connects to a new daemon within one."""

_LOOKS = 3
"""Looks at which a container has nobody, one after the other, until it is killed."""

_LIVE = (ContainerState.CREATED, ContainerState.RUNNING)


async def end_orphans(service: RuntimeService, pods: Pods, delete: Call, pause: float = PAUSE) -> None:
    """Kill the containers of this door that nobody stands for on the host; never return.

    Args:
        service: has the containers.
        pods: knows the processes that stand for them.
        delete: the call of that name.
        pause: seconds between two looks.
    """
    looks: Counter[str] = Counter()
    while True:
        await asyncio.sleep(pause)
        orphans = _without_process(service, pods)
        looks = Counter({container: looks[container] + 1 for container in orphans})
        for container in [each for each, seen in looks.items() if seen >= _LOOKS]:
            try:
                await _end(service, container, delete)
            except VmsandboxError as error:
                _log.warning("container %s: %s", container, error)


async def _end(service: RuntimeService, container: str, delete: Call) -> None:
    status = service.container_status(container)
    root = service.pod_sandbox_status(status.sandbox_id).config.metadata.uid
    known = await asyncio.to_thread(_is_known, root, status.config.metadata.name, container)
    _log.warning("the process on this host of container %s is gone: the container is killed", container)
    await service.stop_container(container, 0)
    if not known:
        _log.warning("no command knows container %s: it is removed", container)
        ended = await delete({"container": container})
        await asyncio.to_thread(cgroups.remove, str(ended.get("cgroup", "")))


def _is_known(root: str, container_id: str, container: str) -> bool:
    """Whether a container is kept in the root directory of its caller."""
    try:
        return Path(root).is_absolute() and Store(root).find(container_id).container == container
    except (CommandError, OSError):
        return False


def _without_process(service: RuntimeService, pods: Pods) -> set[str]:
    every = ((each.id, each.config) for each in service.list_pod_sandboxes())
    ours = {pod for pod, config in every if config.metadata.namespace == NAMESPACE and not config.lasting}
    live = (each for each in service.list_containers() if each.state in _LIVE and each.sandbox_id in ours)
    return {each.id for each in live if not pods.has_process(each.id)}
