"""Commands that talk to the daemon, and how they name what they mean."""

import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from vmsandbox.cli import execution
from vmsandbox.cli.commands.entries import short
from vmsandbox.cli.commands.lists import Lister, list_quickly
from vmsandbox.cli.options import Global
from vmsandbox.cri.listing import Unusual
from vmsandbox.errors import InvalidArgument, NotFound, Unavailable, VmsandboxError
from vmsandbox.model import ContainerState, ContainerStatus, SandboxState, SandboxStatus
from vmsandbox.node.instance import run_sockets

if TYPE_CHECKING:
    from vmsandbox.config import Config
    from vmsandbox.cri.client import CriClient

T = TypeVar("T")


def ask(options: Global, work: Callable[["CriClient"], Awaitable[T]], *, failed: int = execution.FAILED) -> T:
    """The result of `work` with a client of the daemon and of every `vmsandbox run`; see `execution.run`."""
    return _ask(options.config("warning"), work, failed)


def ask_for_lists(options: Global, work: Callable[[Lister], Coroutine[Any, Any, T]]) -> T:
    """The result of `work`, like `ask`, at a fraction of its cost where one runtime gives plain answers.

    Args:
        options: of the command line.
        work: waits for nothing but the calls of its argument. It may be done twice.
    """
    config = options.config("warning")
    try:
        return list_quickly(config, work)
    except Unusual:
        return _ask(config, work, execution.FAILED)


def ask_for_lists_if_served(options: Global, work: Callable[[Lister | None], Coroutine[Any, Any, T]]) -> T:
    """The result of `work`, like `ask_for_lists`; with None if no daemon and no `vmsandbox run` serves."""
    try:
        return list_quickly(options.config("warning"), work)
    except Unusual:
        return ask_if_served(options, work)


def ask_if_served(options: Global, work: Callable[["CriClient | None"], Awaitable[T]]) -> T:
    """The result of `work` with a client, like `ask`; with None if no daemon and no `vmsandbox run` serves."""
    config = options.config("warning")

    async def connect() -> T:
        from vmsandbox.cri.client import connected_to_all

        async with contextlib.AsyncExitStack() as stack:
            connection = connected_to_all(config.socket, run_sockets(config.run_directory))
            try:
                client: CriClient | None = await stack.enter_async_context(connection)
            except Unavailable:
                client = None
            return await work(client)

    return execution.run(connect())


def ask_daemon(
    options: Global, work: Callable[["CriClient | None"], Awaitable[T]]
) -> tuple[T | None, VmsandboxError | None]:
    """The result of `work` with a client of the daemon alone, or the error; with None if no daemon serves."""
    config = options.config("warning")

    async def connect() -> tuple[T | None, VmsandboxError | None]:
        from vmsandbox.cri.client import connected_if_served

        try:
            async with connected_if_served(config.socket) as client:
                return await work(client), None
        except VmsandboxError as error:
            return None, error

    return execution.run(connect())


def _ask(config: "Config", work: Callable[["CriClient"], Awaitable[T]], failed: int) -> T:
    async def connect() -> T:
        from vmsandbox.cri.client import connected_to_all  # Here, since gRPC takes long to import.

        async with connected_to_all(config.socket, run_sockets(config.run_directory)) as client:
            return await work(client)

    return execution.run(connect(), failed=failed)


async def find_container(client: "CriClient", name: str) -> ContainerStatus:
    """The container of an id, the beginning of one, `CONTAINER`, `POD/CONTAINER`, or a pod that has only one.

    A name that several have means the one that runs; of several attempts at one container it means the last.

    Raises:
        NotFound: nothing is called so.
        InvalidArgument: several are.
    """
    pods = {pod.id: pod.config.metadata.name for pod in await client.list_pod_sandboxes()}
    containers = await client.list_containers()
    named = [one for one in containers if name in _names(one, pods.get(one.sandbox_id, "")) or _begins(one.id, name)]
    running = [one for one in named if one.state is ContainerState.RUNNING]
    return _only(
        running or _last_attempts(named, name),
        name,
        "container",
        [f"{short(one.id)} {one.config.metadata.name}" for one in named],
    )


async def find_pod(client: "CriClient", name: str) -> SandboxStatus:
    """The sandbox of an id, the beginning of one, `POD`, or `NAMESPACE/POD`; the READY one, where several are.

    Raises:
        NotFound, InvalidArgument: as `find_container`.
    """
    named = [pod for pod in await client.list_pod_sandboxes() if _begins(pod.id, name) or name in _pod_names(pod)]
    ready = [pod for pod in named if pod.state is SandboxState.READY]
    return _only(ready or named, name, "pod", [f"{short(pod.id)} {pod.config.metadata.name}" for pod in named])


def _begins(identity: str, name: str) -> bool:
    """Whether a name is the beginning of an id. An empty one, as of a shell's unset variable, is not."""
    return bool(name) and identity.startswith(name)


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
            f"there is no {kind} {name or repr(name)}",
            hint="`vmsandbox ps --all` and `vmsandbox pods` list pods and containers",
        )
    if len(found) > 1:
        raise InvalidArgument(f"{name} is the name of {len(found)} {kind}s", hint=f"one of: {', '.join(choices)}")
    return found[0]
