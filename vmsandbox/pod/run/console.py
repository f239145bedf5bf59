"""The console of a pod: the streams of its one container are a person's, or those of another program."""

import asyncio
from typing import Protocol

from vmsandbox.pod.api import Container, PodSpec
from vmsandbox.pod.run.runtime import ContainerStreams


class Console(Protocol):
    """Our own streams, which become those of a container."""

    @property
    def terminal(self) -> bool:
        """Whether the container's output comes to the console alone, as to a terminal; else it has its input only."""
        ...

    async def talk(self, streams: ContainerStreams, started: asyncio.Event) -> None:
        """Pass the streams on, until the container's output ends; input as soon as the container has `started`."""
        ...


def has_console(container: Container, spec: PodSpec) -> bool:
    """Whether a container can have the console: it takes input, and nothing else of the pod runs beside it."""
    beside = [other for other in spec.init_containers if other.sidecar]
    return container.stdin and spec.containers == (container,) and not beside
