"""The command line: the group, and what is common to all commands."""

import importlib
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from vmsandbox.cli.options import Global

_COMMANDS = {
    "attach": "exec:attach",
    "check": "check:check",
    "events": "listing:events",
    "exec": "exec:exec_",
    "image": "image:image",
    "images": "listing:images",
    "inspect": "listing:inspect",
    "lab": "lab:lab",
    "logs": "logs:logs",
    "pods": "listing:pods",
    "port-forward": "port_forward:port_forward_",
    "ps": "listing:ps",
    "rm": "stopping:rm",
    "run": "run:run",
    "serve": "serve:serve",
    "stop": "stopping:stop",
}
"""Each command and where it is in `commands`, `module:function`: imported when used, since some take long to import."""

_EXIT_STATUS = """
Exit status: 0 success; 1 failure; 2 wrong command line; 130 interrupted. `run`: that of the pod, or 125 if vmsandbox
could not run it.
"""


class _Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"vmsandbox.cli.commands.{module}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_STATUS)
@click.version_option(package_name="vmsandbox")
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


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: source <(vmsandbox completion bash)."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "vmsandbox", "_VMSANDBOX_COMPLETE").source())
