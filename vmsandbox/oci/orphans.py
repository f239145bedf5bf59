"""Containers whose process on the host is gone without a daemon that saw it: they are killed, as all such are.

It was killed while the daemon was away; or the command was killed before it had made the process.
"""

import asyncio
from collections import Counter

from vmsandbox import log
from vmsandbox.errors import VmsandboxError
from vmsandbox.model import ContainerState
from vmsandbox.oci.pods import NAMESPACE, Pods
from vmsandbox.service import RuntimeService

_log = log.get(__name__)

PAUSE = 20.0
"""Seconds between two looks. A process connects to a new daemon within one."""

_LOOKS = 3
"""Looks at which a container has nobody, one after the other, until it is killed."""

_LIVE = (ContainerState.CREATED, ContainerState.RUNNING)


async def end_orphans(service: RuntimeService, pods: Pods, pause: float = PAUSE) -> None:
    """Kill the containers of this door that nobody stands for on the host; never return."""
    looks: Counter[str] = Counter()
    while True:
        await asyncio.sleep(pause)
        orphans = _without_process(service, pods)
        looks = Counter({container: looks[container] + 1 for container in orphans})
        for container in [each for each, seen in looks.items() if seen >= _LOOKS]:
            _log.warning("the process on this host of container %s is gone: the container is killed", container)
            try:
                await service.stop_container(container, 0)
            except VmsandboxError as error:
                _log.warning("container %s: %s", container, error)


def _without_process(service: RuntimeService, pods: Pods) -> set[str]:
    every = ((each.id, each.config) for each in service.list_pod_sandboxes())
    ours = {pod for pod, config in every if config.metadata.namespace == NAMESPACE and not config.lasting}
    live = (each for each in service.list_containers() if each.state in _LIVE and each.sandbox_id in ours)
    return {each.id for each in live if not pods.has_process(each.id)}
