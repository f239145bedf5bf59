"""vmsandbox containerd: pods of containerd 2, without a shim."""

import asyncio
from pathlib import Path

import click

from vmsandbox import log
from vmsandbox.cli import execution
from vmsandbox.cli.commands.node.service_manager import notify
from vmsandbox.cli.options import Global
from vmsandbox.containerd import serving_containerd
from vmsandbox.oci_command.wire import SOCKET
from vmsandbox.version import VERSION

_log = log.get("vmsandbox.containerd")

_PATH = click.Path(path_type=Path)


@click.command()
@click.option(
    "--directory", type=_PATH, default=Path("/run/vmsandbox-containerd"), show_default=True, metavar="DIRECTORY",
    help="What is kept of pods, and the socket for containerd.",
)  # fmt: skip
@click.option(
    "--containerd", type=_PATH, default=Path("/run/containerd/containerd.sock"), show_default=True, metavar="SOCKET",
    help="The socket of containerd, which is told of events.",
)  # fmt: skip
@click.pass_obj
def containerd(options: Global, directory: Path, containerd: Path) -> None:
    """Serve pods of containerd 2 without a shim, until SIGTERM.

    It is a client of `vmsandbox serve`, whose restarts it outlives. Pods go on when it ends; the next one takes them
    back.
    """
    execution.run(_serve(options, directory.absolute(), containerd))


async def _serve(options: Global, directory: Path, containerd: Path) -> None:
    daemon = options.config().run_directory / SOCKET
    async with serving_containerd(directory, daemon, containerd) as socket:
        _log.info("vmsandbox %s serves containerd at %s", VERSION, socket)
        notify("READY=1")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            notify("STOPPING=1")
