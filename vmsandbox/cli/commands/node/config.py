"""vmsandbox config: the configuration checked, and shown as it takes effect."""

from pathlib import Path

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.options import Global
from vmsandbox.config import DEFAULT_FILE, Config, as_document, as_yaml, checked, in_order, read_file
from vmsandbox.errors import VmsandboxError, together


@click.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def check_(options: Global, file: Path | None) -> None:
    """Check the configuration, and that this host has what it names.

    All mistakes are printed, each with its file, line and field. `serve` refuses to start for the same ones. Exit
    status 1 if there is one.

    Example: vmsandbox config check new.yaml && cp new.yaml /etc/vmsandbox/config.yaml
    """
    from vmsandbox.node.settings import mistakes_of_host

    chosen = file or options.config_file
    try:
        read = read_file(chosen)
    except VmsandboxError as error:
        execution.fail(error, execution.FAILED)
    wrong = {error.field for error in read.mistakes if error.field}
    of_host = [error for error in execution.run(mistakes_of_host(read)) if error.field not in wrong]
    if found := in_order([*read.mistakes, *of_host]):
        execution.fail(together(found), execution.FAILED)
    missing = "" if (chosen or DEFAULT_FILE).exists() else " (it is not there: all settings have their defaults)"
    terminal.result(f"{chosen or DEFAULT_FILE} is valid{missing}")


@click.command()
@click.option("--defaults", is_flag=True, help="Show the defaults, whatever the file says.")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="Format of the output.")
@click.pass_obj
def show(options: Global, defaults: bool, output: str) -> None:
    """Print the configuration as it takes effect.

    In YAML, the default stands beside whatever differs from it. The output is a configuration file itself. It holds no
    secrets.

    Example: vmsandbox config show | grep default:
    """
    try:
        shown = Config() if defaults else checked(read_file(options.config_file))
    except VmsandboxError as error:
        execution.fail(error, execution.FAILED)
    if output == "json":
        terminal.result_json(as_document(shown))
    else:
        terminal.result(as_yaml(shown).rstrip("\n"))
