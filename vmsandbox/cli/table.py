"""The table of commands: each with its line of help and its module, so that listing commands imports none of them."""

import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import click
from click.shell_completion import CompletionItem
from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Line:
    """A command's line of the table.

    Args:
        place: `module:function` in `vmsandbox.cli.commands`; a module is imported when a command of it is used.
        help: the first sentence of the function's docstring without its full stop, 62 characters at most. It is empty
            for a second name of a command (`image ls`), which is not listed.
    """

    place: str
    help: str


TABLE: Mapping[str, Line] = MappingProxyType(
    {
        "attach": Line("pods.exec:attach", "Follow what container NAME prints, until it ends"),
        "check": Line("node.check:check", "Look at this host: what machines need, and what is missing"),
        "completion": Line("completion:completion", "Print the completion script of a shell"),
        "config": Line("groups:config", "Check the configuration, or show it as it takes effect"),
        "config check": Line("node.config:check_", "Check the configuration, and that this host has what it names"),
        "config show": Line("node.config:show", "Print the configuration as it takes effect"),
        "console": Line("pods.console:console", "Print the console of a pod's machine"),
        "containerd": Line("node.containerd:containerd", "Serve pods of containerd 2 without a shim, until SIGTERM"),
        "cp": Line("pods.copying:cp", "Copy files between a container and this host"),
        "debug": Line("pods.debug:debug", "Open a shell in the guest of a pod itself"),
        "events": Line("pods.events:events", "Print what happens to pods and containers, until Ctrl-C"),
        "exec": Line("pods.exec:exec_", "Run COMMAND in container NAME: exec -it web sh"),
        "image": Line("groups:image", "Container images, and the image that machines boot from"),
        "image build-guest": Line("images.build_guest:build_guest", "Build the guest image from Debian packages"),
        "image export-guest": Line(
            "images.guest_image:export_guest", "Write the guest image to FILE, for hosts without a mirror"
        ),
        "image import-guest": Line(
            "images.guest_image:import_guest", "Take a guest image from FILE, and boot machines from it"
        ),
        "image inspect": Line("images.images:inspect", "Print all about images, with their configuration"),
        "image list": Line("images.image_list:list_images", "List the images that are here"),
        "image load": Line("images.images:load", "Take in an OCI layout, an OCI archive or a docker archive"),
        "image ls": Line("images.image_list:list_images", ""),
        "image prune": Line("node.system:prune_images", "Remove images that no pod uses"),
        "image pull": Line("images.images:pull", "Pull image NAME from its registry: NAME[:TAG] or NAME@DIGEST"),
        "image remove": Line("images.images:remove", "Remove images by name, digest or id"),
        "image rm": Line("images.images:remove", ""),
        "images": Line("images.image_list:list_images", "List the images that are here"),
        "info": Line("node.about:info", "Print what this host and its daemon are, and what they have"),
        "inspect": Line("pods.inspecting:inspect", "Print all about pods, containers or images"),
        "kill": Line("pods.stopping:kill", "Send a signal to the first process of containers"),
        "lab": Line("groups:lab", "Several hosts by ssh: install, check, test, run pods"),
        "lab bench": Line("lab.command:bench", "Run tests/performance/NAME.py with ARGUMENTS on all hosts"),
        "lab check": Line("lab.command:check", "Print one table of all hosts: what works there"),
        "lab collect": Line("lab.command:collect", "Write a support bundle of all hosts, without secrets"),
        "lab down": Line("lab.command:down", "End the pods on all hosts, and remove what `up` installed"),
        "lab exec": Line("lab.command:exec_", "Run COMMAND in container NAME, on the host that has it"),
        "lab logs": Line("lab.command:logs", "Print what container NAME has printed, on the host that has it"),
        "lab run": Line("lab.command:run", "Run the Pod in FILES on one host, by -H or the least busy one"),
        "lab test": Line("lab.command:test", "Run the tests on all hosts, and bring the reports back"),
        "lab up": Line("lab.command:up", "Install or upgrade vmsandbox on all hosts"),
        "logs": Line("pods.logs:logs", "Print what container NAME has printed"),
        "pods": Line("pods.listing:pods", "List the pods of the daemon: each is a virtual machine"),
        "port-forward": Line("pods.port_forward:port_forward_", "Forward ports of this host to ports of a pod"),
        "ps": Line("pods.listing:ps", "List the containers that run"),
        "pull": Line("images.images:pull", "Pull image NAME from its registry: NAME[:TAG] or NAME@DIGEST"),
        "rm": Line("pods.stopping:rm", "Remove pods or containers that have ended"),
        "rmi": Line("images.images:remove", "Remove images by name, digest or id"),
        "run": Line("run.command:run", "Run a pod of FILES, or of an IMAGE, in its own machine"),
        "serve": Line("node.serve:serve", "Serve the CRI on a Unix socket, until SIGTERM or Ctrl-C"),
        "stats": Line("pods.stats:stats", "Show what containers use: CPU, memory, network, disks"),
        "stop": Line("pods.stopping:stop", "Ask pods or containers to end; kill them after the timeout"),
        "system": Line("groups:system", "Disk space: what takes it, and what of it nobody needs"),
        "system df": Line("node.system:df", "Show what takes disk space, and what nobody needs"),
        "system prune": Line("node.system:prune", "Remove what nobody uses: images, older guest images"),
        "top": Line("pods.top:top", "List the processes of a container"),
        "version": Line("node.about:version", "Print the versions of vmsandbox, its daemon, libvirt, QEMU"),
        "volume": Line("groups:volume", "Volumes that outlive pods: of claims, and of run -v NAME:/PATH"),
        "volume create": Line("node.volume:create", "Make empty volumes"),
        "volume inspect": Line("node.volume:inspect", "Print all about volumes, as JSON"),
        "volume list": Line("node.volume:list_volumes", "List the volumes of this host"),
        "volume ls": Line("node.volume:list_volumes", ""),
        "volume remove": Line("node.volume:remove", "Remove volumes with all that is in them"),
        "volume rm": Line("node.volume:remove", ""),
    }
)
"""Commands by the words that name them, without `vmsandbox`. Those of a group follow the group's line."""


class TableGroup(click.Group):
    """A group whose commands are those of `TABLE` that begin with its own name; one is imported when it is used.

    Args:
        path: the words that name the group, none for `vmsandbox` itself.
        attributes: of `click.Group`.
    """

    def __init__(self, *, path: str = "", **attributes: Any) -> None:
        """See the class."""
        super().__init__(**attributes)
        self._lines = {name: line for key, line in TABLE.items() if (name := _child(path, key))}

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, line in self._lines.items() if line.help]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (line := self._lines.get(cmd_name)) is None:
            return None
        module, _, name = line.place.partition(":")
        command = getattr(importlib.import_module(f"vmsandbox.cli.commands.{module}"), name)
        assert isinstance(command, click.Command)
        if command.name != cmd_name:  # `rmi` is `image remove`.
            command = copy.copy(command)
            command.name = cmd_name
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command as click does; the error names those that a mistyped one may have meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            if not (near := difflib.get_close_matches(args[0], self._lines)):
                raise
            raise click.UsageError(f"{error.message} Did you mean {' or '.join(near)}?", ctx) from None

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._lines[name].help) for name in self.list_commands(ctx)])

    @override
    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        found = [CompletionItem(name, help=self._lines[name].help) for name in names]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def _child(path: str, key: str) -> str:
    parent, _, name = key.rpartition(" ")
    return name if parent == path else ""
