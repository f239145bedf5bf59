"""vmsandbox stop and rm: pods and containers of the daemon."""

import click

from vmsandbox.cli.commands.daemon import ask, find_container, find_pod
from vmsandbox.cli.options import Global
from vmsandbox.cri.client import CriClient
from vmsandbox.errors import FailedPrecondition, NotFound
from vmsandbox.model import ContainerState, ContainerStatus, SandboxState, SandboxStatus

GRACE = 10.0
"""Seconds, as in docker stop."""


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option(
    "-t",
    "--timeout",
    type=click.FloatRange(min=0),
    default=GRACE,
    show_default=True,
    help="Seconds until it is killed.",
)
@click.pass_obj
def stop(options: Global, names: tuple[str, ...], timeout: float) -> None:
    """Ask pods or containers to end; kill them after the timeout. A pod's machine ends with it."""

    async def work(client: CriClient) -> None:
        for name in names:
            found = await _find(client, name)
            if isinstance(found, ContainerStatus):
                await client.stop_container(found.id, timeout)
                continue
            for one in await _running_in(client, found):
                await client.stop_container(one.id, timeout)
            await client.stop_pod_sandbox(found.id)

    ask(options, work)


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Also remove those that run: they are killed.")
@click.pass_obj
def rm(options: Global, names: tuple[str, ...], force: bool) -> None:
    """Remove pods or containers that have ended."""

    async def work(client: CriClient) -> None:
        for name in names:
            found = await _find(client, name)
            if not force and found.state in (ContainerState.RUNNING, SandboxState.READY):
                raise FailedPrecondition(f"{name} runs", hint=f"`vmsandbox stop {name}` first, or --force")
            if isinstance(found, ContainerStatus):
                await client.remove_container(found.id)
            else:
                await client.remove_pod_sandbox(found.id)

    ask(options, work)


async def _find(client: CriClient, name: str) -> SandboxStatus | ContainerStatus:
    """A pod of that name, else a container."""
    try:
        return await find_pod(client, name)
    except NotFound:
        return await find_container(client, name)


async def _running_in(client: CriClient, pod: SandboxStatus) -> list[ContainerStatus]:
    containers = await client.list_containers()
    return [one for one in containers if one.sandbox_id == pod.id and one.state is ContainerState.RUNNING]
