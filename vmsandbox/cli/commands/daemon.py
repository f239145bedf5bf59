"""Commands that talk to the daemon, and how they name what they mean."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from vmsandbox.cli import execution
from vmsandbox.cli.commands.entries import short
from vmsandbox.cli.options import Global
from vmsandbox.cri.client import CriClient, connected_to_all
from vmsandbox.errors import InvalidArgument, NotFound, Unavailable
from vmsandbox.model import ContainerState, ContainerStatus, SandboxState, SandboxStatus
from vmsandbox.node.instance import run_sockets

T = TypeVar("T")


def ask(options: Global, work: Callable[[CriClient], Awaitable[T]], *, failed: int = execution.FAILED) -> T:
    """The result of `work` with a client of the daemon and of every `vmsandbox run`; see `execution.run`."""
    config = options.config("warning")

    async def connect() -> T:
        async with connected_to_all(config.socket, run_sockets(config.run_directory)) as client:
            return await work(client)

    return execution.run(connect(), failed=failed)


def ask_if_served(options: Global, work: Callable[[CriClient | None], Awaitable[T]]) -> T:
    """The result of `work` with a client, like `ask`; with None if no daemon and no `vmsandbox run` serves."""
    config = options.config("warning")

    async def connect() -> T:
        async with contextlib.AsyncExitStack() as stack:
            connection = connected_to_all(config.socket, run_sockets(config.run_directory))
            try:
                client: CriClient | None = await stack.enter_async_context(connection)
            except Unavailable:
                client = None
            return await work(client)

    return execution.run(connect())


async def find_container(client: CriClient, name: str) -> ContainerStatus:
    """The container of an id, the beginning of one, `CONTAINER`, `POD/CONTAINER`, or a pod that has only one.

    A name that several have means the one that runs; of several attempts at one container it means the last.

    Raises:
        NotFound: nothing is called so.
        InvalidArgument: several are.
    """
    pods = {pod.id: pod.config.metadata.name for pod in await client.list_pod_sandboxes()}
    containers = await client.list_containers()
    named = [one for one in containers if name in _names(one, pods.get(one.sandbox_id, "")) or one.id.startswith(name)]
    running = [one for one in named if one.state is ContainerState.RUNNING]
    return _only(
        running or _last_attempts(named, name),
        name,
        "container",
        [f"{short(one.id)} {one.config.metadata.name}" for one in named],
    )


async def find_pod(client: CriClient, name: str) -> SandboxStatus:
    """The sandbox of an id, the beginning of one, `POD`, or `NAMESPACE/POD`; the READY one, where several are.

    Raises:
        NotFound, InvalidArgument: as `find_container`.
    """
    named = [pod for pod in await client.list_pod_sandboxes() if pod.id.startswith(name) or name in _pod_names(pod)]
    ready = [pod for pod in named if pod.state is SandboxState.READY]
    return _only(ready or named, name, "pod", [f"{short(pod.id)} {pod.config.metadata.name}" for pod in named])


def _last_attempts(named: list[ContainerStatus], name: str) -> list[ContainerStatus]:
    """Leave out attempts at a container that were followed by others, unless the name is the id of one."""
    last: dict[tuple[str, str], ContainerStatus] = {}
    for one in sorted(named, key=lambda one: one.config.metadata.attempt):
        last[one.sandbox_id, one.config.metadata.name] = one
    return [one for one in named if one.id.startswith(name)] or list(last.values())


def _names(container: ContainerStatus, pod: str) -> tuple[str, ...]:
    own = container.config.metadata.name
    return (own, f"{pod}/{own}", pod)


def _pod_names(pod: SandboxStatus) -> tuple[str, str]:
    metadata = pod.config.metadata
    return (metadata.name, f"{metadata.namespace}/{metadata.name}")


def _only(found: list[T], name: str, kind: str, choices: list[str]) -> T:
    if not found:
        raise NotFound(
            f"there is no {kind} {name}", hint="`vmsandbox ps --all` and `vmsandbox pods` list pods and containers"
        )
    if len(found) > 1:
        raise InvalidArgument(f"{name} is the name of {len(found)} {kind}s", hint=f"one of: {', '.join(choices)}")
    return found[0]
