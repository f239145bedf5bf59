"""vmsandbox stop, rm, kill: the ends of pods and containers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from vmsandbox.cli.commands.daemon import ask, find_container, find_pod
from vmsandbox.cli.commands.each import Outcome, for_each
from vmsandbox.cli.commands.formats import show_lines
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.options import Global
from vmsandbox.errors import FailedPrecondition, NotFound, Unimplemented
from vmsandbox.model import ContainerState, ContainerStatus, SandboxState, SandboxStatus

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient

GRACE = 10.0
"""Seconds that a container without a known grace period has, as in podman stop."""

_GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod"
"""A container's annotation: terminationGracePeriodSeconds of its pod. The kubelet sets it, and so does `run`."""

_Target = SandboxStatus | ContainerStatus
_names = click.argument("names", nargs=-1, metavar="NAME...", shell_complete=completing("pod", "container"))
_ignore = click.option("--ignore", is_flag=True, help="A name that nothing has is not an error.")


@click.command()
@_names
@click.option(
    "-t", "--timeout", "--time", type=click.FloatRange(min=0), help="Seconds until it is killed. [default: see above]"
)
@click.option("-a", "--all", "everything", is_flag=True, help="All pods.")
@_ignore
@click.pass_obj
def stop(options: Global, names: tuple[str, ...], timeout: float | None, everything: bool, ignore: bool) -> None:
    """Ask pods or containers to end; kill them after the timeout.

    The containers of a pod are asked at the same time, and its machine ends with them. They have the pod's
    terminationGracePeriodSeconds if it is known, else 10 seconds. Each name that was stopped is printed.

    Example: vmsandbox stop web database
    """
    _check_names(names, everything)

    async def end(client: "CriClient", found: _Target) -> None:
        await _stop(client, found, timeout)

    _act(options, names, end, _ready if everything else None, ignore=ignore)


@click.command()
@_names
@click.option("-f", "--force", is_flag=True, help="Also remove those that run: they are killed.")
@click.option("-a", "--all", "everything", is_flag=True, help="All pods that have ended; with --force, all pods.")
@_ignore
@click.pass_obj
def rm(options: Global, names: tuple[str, ...], force: bool, everything: bool, ignore: bool) -> None:
    """Remove pods or containers that have ended.

    Each name that was removed is printed. With --force, a name that nothing has is not an error either.

    Example: vmsandbox rm --force web
    """
    _check_names(names, everything)

    async def remove(client: "CriClient", found: _Target) -> None:
        if not force and found.state in (ContainerState.RUNNING, SandboxState.READY):
            name = found.config.metadata.name
            raise FailedPrecondition(f"{name} runs", hint=f"`vmsandbox stop {name}` first, or --force")
        if isinstance(found, ContainerStatus):
            await client.remove_container(found.id)
        else:
            await client.remove_pod_sandbox(found.id)

    chosen = (_any if force else _ended) if everything else None
    _act(options, names, remove, chosen, ignore=ignore or force)


@click.command()
@_names
@click.option("-s", "--signal", "signal_name", default="KILL", show_default=True, help="Name or number of the signal.")
@click.option("-a", "--all", "everything", is_flag=True, help="The containers of all pods.")
@_ignore
@click.pass_obj
def kill(options: Global, names: tuple[str, ...], signal_name: str, everything: bool, ignore: bool) -> None:
    """Send a signal to the first process of containers.

    A pod means all its containers that run. KILL ends all processes of a container.

    Example: vmsandbox kill --signal HUP web/server
    """
    _check_names(names, everything)

    async def send(client: "CriClient", found: _Target) -> None:
        containers = [found] if isinstance(found, ContainerStatus) else await _running_in(client, found)
        await asyncio.gather(*(_signal(client, one, signal_name) for one in containers))

    _act(options, names, send, _ready if everything else None, ignore=ignore)


def _check_names(names: tuple[str, ...], everything: bool) -> None:
    if bool(names) == everything:
        raise click.UsageError("give names or --all" if not names else "names and --all exclude each other")


def _act(
    options: Global,
    names: tuple[str, ...],
    act: Callable[["CriClient", _Target], Awaitable[None]],
    chosen: Callable[[SandboxStatus], bool] | None,
    *,
    ignore: bool,
) -> None:
    """Act on what the names mean at the same time, and print the names; or on all pods that `chosen` lets through."""

    async def work(client: "CriClient") -> Outcome[str]:
        pods = () if chosen is None else filter(chosen, await client.list_pod_sandboxes())
        every = {pod.id: pod for pod in pods}

        async def one(name: str) -> str:
            await act(client, every.get(name) or await _find(client, name))
            return name

        return await for_each(names or every, one, ignore_missing=ignore or chosen is not None)

    outcome = ask(options, work)
    show_lines(outcome.results)
    outcome.end()


async def _find(client: "CriClient", name: str) -> _Target:
    """Return the pod of that name, else the container."""
    try:
        return await find_pod(client, name)
    except NotFound:
        pass
    try:
        return await find_container(client, name)
    except NotFound as error:
        raise NotFound(f"there is no pod or container {name or repr(name)}", hint=error.hint) from None


async def _stop(client: "CriClient", found: _Target, timeout: float | None) -> None:
    if isinstance(found, ContainerStatus):
        await client.stop_container(found.id, _grace([found]) if timeout is None else timeout)
        return
    containers = await _running_in(client, found)
    grace = _grace(containers) if timeout is None else timeout
    try:
        await client.end_pod(found.id, grace)
    except (NotFound, Unimplemented):  # It belongs to a delegate, or to an older daemon.
        await asyncio.gather(*(client.stop_container(one.id, grace) for one in containers))
        await client.stop_pod_sandbox(found.id)


async def _signal(client: "CriClient", container: ContainerStatus, name: str) -> None:
    if name.upper() in ("KILL", "SIGKILL", "9"):
        await client.stop_container(container.id, 0)
        return
    try:
        await client.signal_container(container.id, name)
    except (NotFound, Unimplemented):
        raise Unimplemented(
            f"container {container.config.metadata.name} belongs to another runtime or to an older daemon: no other "
            f"signal than KILL can be sent to it",
            hint=f"`vmsandbox exec {container.config.metadata.name} kill -s {name} 1`, if its image has kill",
        ) from None


async def _running_in(client: "CriClient", pod: SandboxStatus) -> list[ContainerStatus]:
    containers = await client.list_containers()
    return [one for one in containers if one.sandbox_id == pod.id and one.state is ContainerState.RUNNING]


def _grace(containers: list[ContainerStatus]) -> float:
    """Return the seconds that containers of one pod have to end."""
    told = [one.config.annotations.get(_GRACE_ANNOTATION, "") for one in containers]
    known = [float(text) for text in told if text.isdecimal() and len(text) < 10]
    return max(known, default=GRACE)


def _any(_: SandboxStatus) -> bool:
    return True


def _ready(pod: SandboxStatus) -> bool:
    return pod.state is SandboxState.READY


def _ended(pod: SandboxStatus) -> bool:
    return not _ready(pod)
