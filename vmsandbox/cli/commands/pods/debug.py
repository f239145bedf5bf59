"""vmsandbox debug: a person and the guest of a pod itself."""

import sys
from typing import TYPE_CHECKING

import click

from vmsandbox.cli import execution
from vmsandbox.cli.commands.daemon import ask, find_pod
from vmsandbox.cli.commands.detach_keys import DEFAULT, DetachKeys, parse_keys
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.commands.tty import talk
from vmsandbox.cli.options import Global
from vmsandbox.errors import Unimplemented
from vmsandbox.model import DebugRequest
from vmsandbox.streaming.client import Wanted, client_tls
from vmsandbox.streaming.client import command as connect

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--detach-keys", default=DEFAULT, show_default=True, metavar="KEYS", help="What to type to leave.")
@click.argument("pod", shell_complete=completing("pod"))
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def debug(options: Global, detach_keys: str, pod: str, command: tuple[str, ...]) -> None:
    """Open a shell in the guest of a pod itself.

    The shell, or COMMAND, runs as the guest's root. It is busybox's, with its commands built in, and has a terminal if
    standard input and output are one. Its processes end when you leave. It has to be allowed when the pod is made:
    machine.debug in config.yaml.

    \b
    Examples: vmsandbox debug web
              vmsandbox debug web dmesg
    Exit status: that of the shell or COMMAND; 0 after the detach keys; 125 when it could not be run.
    """

    async def work(client: "CriClient") -> int:
        tty = sys.stdin.isatty() and sys.stdout.isatty()
        keys = DetachKeys(parse_keys(detach_keys) if tty else b"")
        request = DebugRequest((await find_pod(client, pod)).id, command, tty=tty, stdin=True)
        wanted = Wanted(stdin=True, stdout=True, stderr=not tty, tty=tty)
        tls = client_tls(options.config("warning").streaming)
        async with connect(await _url(client, request), wanted, tls) as process:
            await talk(process, stdin=True, terminal=tty, keys=keys)
            return 0 if keys.found else process.exit_code

    sys.exit(ask(options, work, failed=execution.RUN_FAILED))


async def _url(client: "CriClient", request: DebugRequest) -> str:
    try:
        return await client.debug_url(request)
    except Unimplemented as error:
        error.hint = error.hint or "the daemon is older than this command: upgrade and restart it"
        raise
