"""Containers whose process on the host is gone without a daemon that saw it: they are killed, as all such are.

It was killed while the daemon was away; or the command was killed before it had made the process. If that was before it
had noted what it had made, nobody can ask for the container's end: it is removed. So is a machine in which the daemon
was to make the first container when it was killed.
"""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

from vmsandbox import log
from vmsandbox.errors import NotFound, VmsandboxError
from vmsandbox.model import ContainerState, PodSandboxConfig
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
    """Kill the containers of this door that nobody stands for on the host, and remove its empty machines; never return.

    Args:
        service: has the containers.
        pods: knows the processes that stand for them.
        delete: the call of that name.
        pause: seconds between two looks.
    """
    looks: Counter[str] = Counter()
    while True:
        await asyncio.sleep(pause)
        for sandbox_id in _empty(service):
            try:
                await _remove_empty(service, pods, sandbox_id)
            except VmsandboxError as error:
                _log.warning("sandbox %s: %s", sandbox_id, error)
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


async def _remove_empty(service: RuntimeService, pods: Pods, sandbox_id: str) -> None:
    """Remove a machine in which nothing is, unless a call of this process is about to change that."""
    with contextlib.suppress(NotFound):
        config = service.pod_sandbox_status(sandbox_id).config
        if (lock := pods.lock(config.metadata)).locked():
            return
        async with lock:
            if sandbox_id not in _empty(service):  # a call that waited before this one has made a container
                return
            _log.warning("no container is in the machine of %s: it is removed", config.metadata.name)
            await service.remove_pod_sandbox(sandbox_id)
            await asyncio.to_thread(cgroups.remove, config.cgroup_parent)


def _empty(service: RuntimeService) -> list[str]:
    """Return the machines of this door that have no container."""
    full = {each.sandbox_id for each in service.list_containers()}
    return [each.id for each in service.list_pod_sandboxes() if _is_ours(each.config) and each.id not in full]


def _is_known(root: str, container_id: str, container: str) -> bool:
    """Whether a container is kept in the root directory of its caller."""
    try:
        return Path(root).is_absolute() and Store(root).find(container_id).container == container
    except (CommandError, OSError):
        return False


def _without_process(service: RuntimeService, pods: Pods) -> set[str]:
    ours = {each.id for each in service.list_pod_sandboxes() if _is_ours(each.config)}
    live = (each for each in service.list_containers() if each.state in _LIVE and each.sandbox_id in ours)
    return {each.id for each in live if not pods.has_process(each.id)}


def _is_ours(pod: PodSandboxConfig) -> bool:
    """Whether a pod is of this door, and ends with its containers.

    The namespace does not tell, since Kubernetes may have one of that name. The uid does: the door's is the path of its
    caller's root directory.
    """
    return pod.metadata.namespace == NAMESPACE and pod.metadata.uid.startswith("/") and not pod.lasting
