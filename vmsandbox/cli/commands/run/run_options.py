"""The options of `vmsandbox run`, in the groups that its help has; and its words, which are files or an image.

podman's options that have no meaning here are known too, so that they are refused with the reason.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from typing_extensions import override

from vmsandbox.pod.options import FLAGS, REFUSED

F = TypeVar("F", bound=Callable[..., Any])

_SUFFIXES = (".yaml", ".yml", ".json")

_BOTH, _CONTAINER, _STORAGE = "Files and images", "Container of IMAGE", "Storage of IMAGE"
_NETWORK, _RIGHTS, _POD = "Network of IMAGE", "Users and rights of IMAGE", "Pod of IMAGE"


def is_file(word: str) -> bool:
    """Whether a word means a file of manifests: `-`, a name that ends as such files' do, or a file that exists."""
    return word == "-" or word.endswith(_SUFFIXES) or Path(word).is_file()


class RunCommand(click.Command):
    """A command whose words after an image are that image's command, options too; after a file they are its own."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = False
        found, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        given = found.get("words")
        words = given if isinstance(given, Sequence) else ()  # else click's own sign for nothing
        ctx.allow_interspersed_args = "files" in found or not words or is_file(words[0])
        return super().parse_args(ctx, args)

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            shown = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if shown is not None:
                groups.setdefault(getattr(parameter, "group", _BOTH), []).append(shown)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


class _Grouped(click.Option):
    """An option that help shows under the heading of its group."""

    def __init__(self, *args: Any, group: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group


def _option(group: str, *names: str, **attributes: Any) -> Callable[[F], F]:
    if attributes.get("multiple"):
        attributes["help"] += " Repeatable."
    return click.option(*names, cls=_Grouped, group=group, **attributes)


def _many(group: str, *names: str, metavar: str, help: str) -> Callable[[F], F]:
    return _option(group, *names, multiple=True, metavar=metavar, help=help)


def _one(group: str, *names: str, metavar: str, help: str, default: str | None = "") -> Callable[[F], F]:
    return _option(group, *names, metavar=metavar, help=help, default=default)


def _flag(group: str, *names: str, help: str) -> Callable[[F], F]:
    return _option(group, *names, is_flag=True, help=help)


_FILES = click.Path(path_type=Path, allow_dash=True)

_OPTIONS = (
    _many(_BOTH, "-f", "--file", "files", metavar="FILE", help="A file of manifests; then all words are files."),
    _one(_BOTH, "--only", metavar="[KIND/]NAME", help="The one to run, where FILES hold several pods."),
    _flag(_BOTH, "--dry-run", help="Print the Pod instead of running it."),
    _option(
        _BOTH,
        "-o",
        "--output",
        type=click.Choice(["yaml", "json"]),
        default="yaml",
        show_default=True,
        help="The form in which --dry-run prints.",
    ),
    _flag(_BOTH, "-d", "--detach", help="Go to the background when its containers run, and print the pod's name."),
    _flag(_BOTH, "--rm", help="Let nothing stay of the pod when it has ended; so it is with files."),
    _one(
        _BOTH,
        "--detach-keys",
        default="ctrl-p,ctrl-q",
        metavar="KEYS",
        help="What to type to let go of the terminal; ctrl-p,ctrl-q by default, '' for nothing.",
    ),
    _flag(_BOTH, "--timings", help="Show how long each step of the start took."),
    _flag(_CONTAINER, "-i", "--interactive", help="Our input is the container's."),
    _flag(_CONTAINER, "-t", "--tty", help="The container has a terminal: with -i, ours."),
    _many(_CONTAINER, "-e", "--env", metavar="NAME[=VALUE]", help="A variable; NAME alone hands ours on."),
    _many(_CONTAINER, "--env-file", metavar="FILE", help="Variables, one in a line."),
    _one(_CONTAINER, "--entrypoint", default=None, metavar="PROGRAM", help="Instead of the image's; a word or JSON."),
    _one(_CONTAINER, "-w", "--workdir", metavar="PATH", help="Its working directory."),
    _one(_CONTAINER, "-m", "--memory", metavar="SIZE", help="Its memory at most: 512m, 1g."),
    _one(_CONTAINER, "--cpus", metavar="NUMBER", help="Its CPUs at most: 0.5, 2."),
    _one(
        _CONTAINER,
        "--pull",
        default="missing",
        metavar="WHEN",
        help="Pull it: always, missing (default), never.",
    ),
    _one(_CONTAINER, "--restart", metavar="POLICY", help="Start it again: no (default), on-failure, always."),
    _one(_CONTAINER, "--stop-timeout", metavar="SECONDS", help="How long it may take to end; 10 by default."),
    _many(
        _STORAGE,
        "-v",
        "--volume",
        metavar="SOURCE:PATH[:ro]",
        help="Mount a directory or file of the host (a SOURCE with / or .), or a volume by its name.",
    ),
    _many(_STORAGE, "--tmpfs", metavar="PATH[:size=SIZE]", help="Mount memory."),
    _flag(_STORAGE, "--read-only", help="The root is read-only, except /run, /tmp and /var/tmp."),
    _many(
        _NETWORK, "-p", "--publish", metavar="[IP:]HOST:PORT[/udp]", help="Make a port a port of the host; or a range."
    ),
    _one(_NETWORK, "--network", metavar="NAME", help="default: the node's network; none: only `lo`, localhost."),
    _one(_NETWORK, "--hostname", metavar="NAME", help="By default the pod's name."),
    _many(_NETWORK, "--add-host", metavar="NAME:ADDRESS", help="A line of /etc/hosts."),
    _many(_NETWORK, "--dns", metavar="ADDRESS", help="A name server instead of the host's."),
    _one(_RIGHTS, "-u", "--user", metavar="UID[:GID]", help="Run as this user; numbers."),
    _many(_RIGHTS, "--group-add", metavar="GID", help="Another group of the user."),
    _many(_RIGHTS, "--cap-add", metavar="NAME", help="A capability more; ALL."),
    _many(_RIGHTS, "--cap-drop", metavar="NAME", help="A capability less; ALL."),
    _flag(_RIGHTS, "--privileged", help="All rights, in its own machine."),
    _one(_POD, "--name", metavar="NAME", help="By default made of the image's name."),
    _many(_POD, "-l", "--label", metavar="NAME=VALUE", help="A label."),
    _many(_POD, "--annotation", metavar="NAME=VALUE", help="An annotation."),
    _many(_POD, "--sysctl", metavar="NAME=VALUE", help="A kernel parameter of its machine."),
    _one(_POD, "--runtime-class", metavar="NAME", help="The handler, of the configuration's, that makes the machine."),
)

OF_IMAGES = frozenset(
    {
        "add_host", "annotation", "cap_add", "cap_drop", "cpus", "dns", "entrypoint", "env", "env_file", "group_add",
        "hostname", "interactive", "label", "memory", "name", "network", "privileged", "publish", "pull", "read_only",
        "restart", "runtime_class", "stop_timeout", "sysctl", "tmpfs", "tty", "user", "volume", "workdir",
    }
)  # fmt: skip
"""The options that say what a file says by itself."""


def run_options(command: F) -> F:
    """The options of `vmsandbox run`, those that are refused among them."""
    for name, reason in sorted(REFUSED.items(), reverse=True):
        command = click.option(
            name, is_flag=name in FLAGS, hidden=True, expose_value=False, callback=_refusing(name, reason)
        )(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _refusing(name: str, reason: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def refuse(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            raise click.UsageError(f"{name} of podman run is not supported: {reason}", context)

    return refuse
