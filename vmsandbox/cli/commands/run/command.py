"""vmsandbox run: a pod from YAML files, or of an image as podman runs one."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from vmsandbox.cli.commands.names import completing_image_or_file
from vmsandbox.cli.commands.run.background import divide
from vmsandbox.cli.commands.run.run_options import OF_IMAGES, RunCommand, is_file, run_options
from vmsandbox.cli.options import Global

_EXAMPLES = """
\b
Examples:
  vmsandbox run --rm docker.io/library/alpine:3.20 uname -r
  vmsandbox run -it --rm alpine:3.20
  vmsandbox run -d --name web -p 8080:80 IMAGE
  vmsandbox run -e GREETING=hello -v ./data:/data:ro -p 8080:80 -m 512m IMAGE
  vmsandbox run --dry-run -p 8080:80 IMAGE >pod.yaml
  vmsandbox run pod.yaml settings.yaml
"""


@click.command(cls=RunCommand, epilog=_EXAMPLES, options_metavar="[OPTIONS]")
@run_options
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="FILES | IMAGE [COMMAND...]",
    shell_complete=completing_image_or_file,
)
@click.pass_context
def run(context: click.Context, /, words: tuple[str, ...], files: tuple[str, ...], **given: Any) -> None:
    """Run a pod of FILES, or of an IMAGE, in its own machine.

    A word that is - (standard input), ends in .yaml, .yml or .json, or names an existing file, is a file; all others
    are files then. Any other first word is an image: options before it mean what they mean to podman run, and the
    words after it are its command. The daemon runs the pod where one serves this node, else this process does.

    FILES hold a Pod, or a Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob, of whose template one pod
    runs; and the ConfigMaps, Secrets and PersistentVolumeClaims that it uses. A field that is not supported is an error
    before anything starts. Other kinds, as Services, are left out with a note.

    Exit status: the pod's (0, or that of the container that failed first); 127 when there is no such command, 126 when
    it is not executable, 125 when the pod could not be run for another reason; 143 when it was stopped from outside, as
    by `vmsandbox stop`. Ctrl-C asks the containers to end, as long as
    terminationGracePeriodSeconds; Ctrl-C again ends them at once.
    """
    options: Global = context.obj
    if not (files or words):
        raise click.UsageError("FILES or an IMAGE is missing", context)
    of_files = bool(files) or is_file(words[0])
    if not of_files and given["only"]:
        raise click.UsageError("--only: for FILES, of which it chooses a pod", context)
    if of_files and (wrong := _given(context, OF_IMAGES)):
        raise click.UsageError(f"{', '.join(wrong)}: for an IMAGE only; a file says it by itself", context)
    background = divide() if _may_leave(given) else None  # Before there is a thread of what is imported now.
    from vmsandbox.cli.commands.run.run_pod import run_files, run_image

    if of_files:
        run_files(options, (*files, *words), given, background)
    else:
        run_image(options, words, given, background)


def _may_leave(given: Mapping[str, Any]) -> bool:
    """Whether the pod may go on when the command has ended: in the background, or let go of by keys."""
    return not given["dry_run"] and (given["detach"] or (sys.stdin.isatty() and sys.stdout.isatty()))


def _given(context: click.Context, names: frozenset[str]) -> list[str]:
    """The options of these names that the command line has."""
    source = click.core.ParameterSource.COMMANDLINE
    found = {one.name: one.opts[-1] for one in context.command.params}
    return [option for name, option in found.items() if name in names and context.get_parameter_source(name) is source]
