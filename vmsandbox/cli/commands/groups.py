"""The groups of commands: their own help and options. Their commands are elsewhere, imported when they are used."""

from pathlib import Path

import click

from vmsandbox.cli.table import TableGroup


@click.group(cls=TableGroup, path="image")
def image() -> None:
    """Container images, and the image that machines boot from."""


@click.group(cls=TableGroup, path="config")
def config() -> None:
    """Check the configuration, or show it as it takes effect.

    The file is that of --config, by default /etc/vmsandbox/config.yaml; examples/config.yaml explains every setting.
    """


@click.group(cls=TableGroup, path="volume")
def volume() -> None:
    """Volumes that outlive pods: of claims, and of run -v NAME:/PATH."""


@click.group(cls=TableGroup, path="system")
def system() -> None:
    """Disk space: what takes it, and what of it nobody needs."""


@click.group(cls=TableGroup, path="lab")
@click.option(
    "-i", "--inventory", type=click.Path(path_type=Path, dir_okay=False), default="lab.yaml", show_default=True,
    envvar="VMSANDBOX_LAB", help="YAML file of the hosts; docs/lab.md shows one.",
)  # fmt: skip
@click.option("-H", "--host", "names", multiple=True, metavar="NAME", help="Only this host; may be repeated.")
@click.pass_context
def lab(context: click.Context, inventory: Path, names: tuple[str, ...]) -> None:
    """Several hosts by ssh: install, check, test, run pods.

    `up` installs this checkout on them. A host that fails has a line that says why, and the others go on; the exit
    status is 1 then.
    """
    from vmsandbox.cli.commands.lab.laboratory import Laboratory

    context.obj = Laboratory(inventory, names)
