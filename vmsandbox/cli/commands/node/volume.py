"""vmsandbox volume: the named volumes of this host."""

import asyncio

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.commands.each import Outcome, for_each
from vmsandbox.cli.commands.entries import Entry
from vmsandbox.cli.commands.formats import Column, field, form_option, list_options, pairs, show, show_document
from vmsandbox.cli.options import Global
from vmsandbox.config import Config
from vmsandbox.cri.client import connected_if_served
from vmsandbox.errors import FailedPrecondition
from vmsandbox.model import ContainerState
from vmsandbox.pod.named_volumes import VOLUMES, NamedVolume, NamedVolumes
from vmsandbox.pod.options import labels

_COLUMNS = (
    Column("VOLUME", field("name")),
    Column("CREATED", field("createdAt")),
    Column("IN USE", lambda entry: "yes" if entry["inUse"] else "no"),
    Column("LABELS", pairs("labels"), wide=True),
    Column("PATH", field("path"), wide=True),
)


@click.command("list")
@list_options
@click.pass_obj
def list_volumes(options: Global, output: str, quiet: bool) -> None:
    """List the volumes of this host."""
    volumes = _open(options.config("warning"))

    async def work() -> tuple[NamedVolume, ...]:
        return await asyncio.to_thread(volumes.list)

    show(list(map(_entry, execution.run(work()))), _COLUMNS, lambda entry: str(entry["name"]), output, quiet=quiet)


@click.command()
@click.argument("names", nargs=-1, required=True)
@form_option(("json", "yaml"), default="json")
@click.pass_obj
def inspect(options: Global, names: tuple[str, ...], output: str) -> None:
    """Print all about volumes, as JSON.

    `path` is the directory of the content, which pods write.
    """
    volumes = _open(options.config("warning"))

    async def work() -> Outcome[NamedVolume]:
        return await for_each(names, lambda name: asyncio.to_thread(volumes.find, name))

    outcome = execution.run(work())
    show_document(list(map(_entry, outcome.results)), output)
    outcome.end()


@click.command()
@click.option("-l", "--label", multiple=True, metavar="NAME=VALUE", help="A label. Repeatable.")
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def create(options: Global, label: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Make empty volumes.

    `run -v NAME:/PATH` makes a volume by itself when it is used first: volume create -l team=web data
    """
    volumes = _open(options.config("warning"))

    async def work() -> Outcome[NamedVolume]:
        chosen = labels(label)
        return await for_each(names, lambda name: asyncio.to_thread(volumes.create, name, chosen))

    outcome = execution.run(work())
    for made in outcome.results:
        terminal.result(made.name)
    outcome.end()


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def remove(options: Global, names: tuple[str, ...]) -> None:
    """Remove volumes with all that is in them.

    A volume that a pod uses stays, and is an error.
    """
    config = options.config("warning")
    volumes = _open(config)

    async def removed(name: str) -> str:
        await _check_unused(config, volumes, name)
        await volumes.remove(name)
        return name

    async def work() -> Outcome[str]:
        return await for_each(names, removed)

    outcome = execution.run(work())
    for name in outcome.results:
        terminal.result(name)
    outcome.end()


async def _check_unused(config: Config, volumes: NamedVolumes, name: str) -> None:
    """Raise FailedPrecondition if a container of the daemon has the volume: its `run` may have been killed."""
    data = str(volumes.data(name))
    async with connected_if_served(config.socket) as client:
        for container in await client.list_containers() if client is not None else ():
            if container.state is ContainerState.EXITED:
                continue
            mounts = (await client.container_status(container.id)).config.mounts if client is not None else ()
            if any(mount.host_path == data or mount.host_path.startswith(f"{data}/") for mount in mounts):
                raise FailedPrecondition(
                    f"the volume {name} is in use by container {container.config.metadata.name}",
                    hint="stop the pod that uses it",
                )


def _open(config: Config) -> NamedVolumes:
    return NamedVolumes(config.state_directory / VOLUMES)


def _entry(volume: NamedVolume) -> Entry:
    return {
        "id": volume.name,
        "name": volume.name,
        "createdAt": volume.created_at,
        "labels": volume.labels,
        "inUse": volume.in_use,
        "path": str(volume.data),
    }
