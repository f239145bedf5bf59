"""The command line: the group, and what is common to all commands."""

from pathlib import Path

import click

from vmsandbox.cli.options import Global
from vmsandbox.cli.table import TableGroup
from vmsandbox.version import VERSION

_EXIT_STATUS = """
Exit status: 0 success; 1 failure; 2 wrong command line; 130 interrupted. `run`: that of the pod, or 125 if vmsandbox
could not run it.
"""


@click.group(cls=TableGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_STATUS)
@click.version_option(VERSION)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="VMSANDBOX_CONFIG",
    help="Configuration file; by default /etc/vmsandbox/config.yaml, if it exists.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Level of the log on standard error; by default that of the configuration.",
)
@click.pass_context
def main(context: click.Context, config_file: Path | None, log_level: str | None) -> None:
    """Kubernetes pods as virtual machines: every PodSandbox is a lightweight machine of its own."""
    context.obj = Global(config_file, log_level)
